//! The live screen: a thread that draws what a run does, looks at keys, and leaves the terminal as it
//! found it, whatever happens.

mod figures;
mod view;

pub(crate) use figures::About;

use doorbuster_loadgen::Progress;
use figures::Figures;
use ratatui::Terminal;
use ratatui::backend::CrosstermBackend;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use ratatui::crossterm::execute;
use ratatui::crossterm::terminal::{
    EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode,
};
use std::io::{self, Stderr};
use std::sync::Arc;
use std::sync::Once;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use view::Palette;

/// How long keys are waited for between two pictures.
const EVERY: Duration = Duration::from_millis(250);

/// Whether the terminal is ours at the moment.
static IS_TAKEN: AtomicBool = AtomicBool::new(false);

/// The screen, drawn by a thread of its own.
pub(crate) struct Screen {
    is_over: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl Screen {
    pub(crate) fn start(about: About, progress: Arc<Progress>) -> io::Result<Self> {
        take()?;
        let opened = Terminal::new(CrosstermBackend::new(io::stderr()));
        let terminal = opened.inspect_err(|_| restore())?;
        let is_over = Arc::new(AtomicBool::new(false));
        let until = Arc::clone(&is_over);
        let figures = Figures::new(about, progress);
        let thread = std::thread::Builder::new().name("screen".to_owned()).spawn(move || {
            // A screen that cannot be drawn any more must not end the run.
            let _ = watch(terminal, figures, &until);
            restore();
        });
        Ok(Self { is_over, thread: thread.inspect_err(|_| restore())? })
    }

    pub(crate) fn finish(self) {
        self.is_over.store(true, SeqCst);
        let _ = self.thread.join();
        restore();
    }
}

fn watch(
    mut terminal: Terminal<CrosstermBackend<Stderr>>,
    mut figures: Figures,
    is_over: &AtomicBool,
) -> io::Result<()> {
    let palette = Palette::from_environment();
    // After a panic elsewhere the terminal is no longer ours.
    while !is_over.load(SeqCst) && IS_TAKEN.load(SeqCst) {
        let now = Instant::now();
        figures.look(now);
        terminal.draw(|frame| view::draw(frame, &figures, palette, now))?;
        let mut wait = EVERY;
        // All keys that are there, before the next picture.
        while event::poll(wait)? {
            wait = Duration::ZERO;
            if let Event::Key(key) = event::read()?
                && stops(key)
            {
                if figures.progress.is_stopped() {
                    end_at_once();
                }
                figures.progress.stop();
            }
        }
    }
    Ok(())
}

/// Whether a key asks for the end. Ctrl-C is a key like others while the terminal is ours.
fn stops(key: KeyEvent) -> bool {
    let is_control = key.modifiers.contains(KeyModifiers::CONTROL);
    key.kind == KeyEventKind::Press
        && match key.code {
            KeyCode::Char('q') => !is_control,
            KeyCode::Char('c') => is_control,
            _ => false,
        }
}

/// Somebody asked twice.
fn end_at_once() -> ! {
    restore();
    std::process::exit(1)
}

fn take() -> io::Result<()> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            restore();
            before(panic);
        }));
    });
    enable_raw_mode()?;
    IS_TAKEN.store(true, SeqCst);
    execute!(io::stderr(), EnterAlternateScreen).inspect_err(|_| restore())
}

/// Leaves the terminal as it was found; does nothing when it is not ours.
pub(crate) fn restore() {
    if IS_TAKEN.swap(false, SeqCst) {
        let _ = disable_raw_mode();
        let _ = execute!(io::stderr(), LeaveAlternateScreen, ratatui::crossterm::cursor::Show);
    }
}
