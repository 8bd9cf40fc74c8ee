//! All shards of a store, and which of them is asked for which bucket.
//!
//! The map is made when the store is opened, and again whenever a shard says that it owns other
//! buckets than was thought, was claimed, or came back. Shards that buckets were moved to are found
//! through the peers of the one that had them.

use crate::buckets::BucketSet;
use crate::error::StoreError;
use crate::postgres::connect::failure;
use crate::postgres::identity::{self, Checked, Standing};
use crate::postgres::map::{self, Deal, Seat};
use crate::postgres::moving::seal;
use crate::postgres::options::{PostgresOptions, ShardOptions, WhenAway};
use crate::postgres::runtimes::Handles;
use crate::postgres::shard::{Inner, PostgresShard};
use crate::postgres::url::ShardUrl;
use futures_util::future::join_all;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock, Weak};
use tokio::sync::Mutex;

/// How often a chain of peers is followed: a shard that joined may itself have handed buckets on.
const PEERS_FOLLOWED_MAX: u32 = 8;

/// The shards and the map.
pub(super) struct Core {
    pub(super) options: PostgresOptions,
    handles: Handles,
    /// Replaced as a whole. Held for moments.
    places: RwLock<Arc<Places>>,
    /// Whoever makes the map anew; the counter tells those who waited that it was done meanwhile.
    refreshing: Mutex<()>,
    refreshed: AtomicU64,
    me: Weak<Self>,
}

/// Shards, and the index of each bucket's.
#[derive(Clone, Default)]
pub(super) struct Places {
    pub(super) shards: Vec<PostgresShard>,
    owners: Vec<Option<usize>>,
}

impl Core {
    /// Knows the shards of the configuration, and nothing of them yet.
    pub(super) fn new(options: PostgresOptions, handles: &Handles) -> Arc<Self> {
        Arc::new_cyclic(|me| {
            let shards = (0..options.shards.len())
                .map(|index| {
                    let (name, share) = (options.name_of(index), options.share_of(index));
                    let of_shard = options.shards[index].clone();
                    PostgresShard::new(name, of_shard, share, &options, handles, me.clone())
                })
                .collect();
            Self {
                places: RwLock::new(Arc::new(Places { shards, owners: Vec::new() })),
                handles: handles.clone(),
                refreshing: Mutex::new(()),
                refreshed: AtomicU64::new(0),
                me: me.clone(),
                options,
            }
        })
    }

    /// The shards and the map as of now.
    pub(super) fn places(&self) -> Arc<Places> {
        Arc::clone(&self.places.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Looks at every shard for the first time, and makes the map.
    pub(super) async fn open(&self) -> Result<(), StoreError> {
        let shards = self.places().shards.clone();
        let looks = shards.iter().map(|shard| shard.inner().look());
        let mut away = Vec::new();
        for (shard, looked) in shards.iter().zip(join_all(looks).await) {
            match looked {
                Ok((_, standing)) => shard.inner().set_standing(standing),
                Err(error) if error.is_retryable() => away.push(error),
                Err(error) => return Err(error),
            }
        }
        let is_refused = match self.options.away {
            WhenAway::Refuse => !away.is_empty(),
            WhenAway::RefuseAll => away.len() == shards.len(),
            WhenAway::Tolerate => false,
        };
        if is_refused {
            return Err(away.swap_remove(0));
        }
        for error in away {
            tracing::warn!(%error, "the store is opened without a shard");
        }
        self.check(&shards)?;
        self.find_owners().await
    }

    /// Takes in what a shard that was away says of itself.
    pub(super) fn admit(&self, shard: &Inner, standing: Standing) -> Result<(), StoreError> {
        let shards = &self.places().shards;
        let known = |other: &PostgresShard| match std::ptr::eq(Arc::as_ptr(other.inner()), shard) {
            true => Some(standing.clone()),
            false => other.inner().standing(),
        };
        let standings: Vec<_> = shards.iter().map(known).collect();
        check(shards, &standings)?;
        let deal = deal(shards, &standings)?;
        shard.set_standing(standing);
        self.set_map(shards.clone(), &deal);
        Ok(())
    }

    /// Asks every shard again what it owns, and makes the map anew. One that does not answer keeps
    /// what it was known to own.
    pub(super) async fn refresh(&self) -> Result<(), StoreError> {
        let before = self.refreshed.load(Ordering::Acquire);
        let _turn = self.refreshing.lock().await;
        if self.refreshed.load(Ordering::Acquire) != before {
            return Ok(());
        }
        let shards = self.places().shards.clone();
        let asked = shards.iter().map(|shard| ask(shard.inner()));
        for (shard, answer) in shards.iter().zip(join_all(asked).await) {
            match answer {
                Ok(standing) => shard.inner().set_standing(standing),
                Err(error) if error.is_retryable() => {
                    tracing::debug!(%error, "a shard does not say what it owns");
                }
                Err(error) => return Err(error),
            }
        }
        self.check(&shards)?;
        self.find_owners().await?;
        self.refreshed.fetch_add(1, Ordering::Release);
        Ok(())
    }

    /// The shard that is asked for a bucket, verified.
    pub(super) async fn owner(&self, bucket: u16) -> Result<PostgresShard, StoreError> {
        loop {
            let places = self.places();
            let owner = places.owners.get(usize::from(bucket)).copied().flatten();
            let Some(index) = owner else {
                let mut missing = BucketSet::NONE;
                missing.insert(bucket);
                return Err(unowned(&places.shards, &missing));
            };
            let shard = &places.shards[index];
            if shard.inner().standing().is_some() {
                return Ok(shard.clone());
            }
            // It may turn out to own other buckets than was thought.
            shard.inner().verify().await?;
        }
    }

    /// Makes the map from what the shards are known to say of themselves.
    pub(super) fn remap(&self) -> Result<BucketSet, StoreError> {
        let shards = self.places().shards.clone();
        let standings: Vec<_> = shards.iter().map(|shard| shard.inner().standing()).collect();
        let deal = deal(&shards, &standings)?;
        if deal.missing.is_empty() && deal.presumed.is_empty() {
            self.set_map_of_seen(shards)?;
        } else {
            self.set_map(shards, &deal);
        }
        Ok(deal.missing)
    }

    /// Makes the map when every bucket has an owner that said so. Shards that were only heard of and
    /// never seen are let go of: one that went out of service would keep the log for ever.
    fn set_map_of_seen(&self, mut shards: Vec<PostgresShard>) -> Result<(), StoreError> {
        let configured = self.options.shards.len();
        let mut index = 0..;
        shards.retain(|shard| {
            index.next().is_some_and(|index: usize| index < configured)
                || shard.inner().standing().is_some()
        });
        let standings: Vec<_> = shards.iter().map(|shard| shard.inner().standing()).collect();
        let deal = deal(&shards, &standings)?;
        self.set_map(shards, &deal);
        Ok(())
    }

    /// Takes in a shard that the configuration does not name; it owns nothing yet.
    pub(super) fn join(
        &self,
        name: String,
        options: ShardOptions,
        standing: Standing,
    ) -> Result<PostgresShard, StoreError> {
        let (share, me) = (BucketSet::NONE, self.me.clone());
        let shard = PostgresShard::new(name, options, share, &self.options, &self.handles, me);
        shard.inner().set_standing(standing);
        let mut shards = self.places().shards.clone();
        shards.push(shard.clone());
        self.check(&shards)?;
        let places = Arc::new(Places { shards, owners: self.places().owners.clone() });
        *self.places.write().unwrap_or_else(PoisonError::into_inner) = places;
        Ok(shard)
    }

    fn check(&self, shards: &[PostgresShard]) -> Result<(), StoreError> {
        let standings: Vec<_> = shards.iter().map(|shard| shard.inner().standing()).collect();
        check(shards, &standings)
    }

    fn set_map(&self, shards: Vec<PostgresShard>, deal: &Deal) {
        for (shard, dealt) in shards.iter().zip(&deal.buckets) {
            shard.inner().set_dealt(*dealt);
        }
        let places = Arc::new(Places { shards, owners: map::index(deal) });
        *self.places.write().unwrap_or_else(PoisonError::into_inner) = places;
    }

    /// Makes the map, and looks among the peers of the shards for whoever has what none of them has.
    /// Until that is found the map stays as it was: whoever asks meanwhile asks who had the buckets.
    async fn find_owners(&self) -> Result<(), StoreError> {
        for _ in 0..=PEERS_FOLLOWED_MAX {
            let shards = self.places().shards.clone();
            let standings: Vec<_> = shards.iter().map(|shard| shard.inner().standing()).collect();
            let deal = deal(&shards, &standings)?;
            let is_known = deal.missing.is_empty();
            if is_known && deal.presumed.is_empty() {
                return self.set_map_of_seen(shards);
            }
            match self.follow_peers().await {
                Ok(true) => {}
                Ok(false) if !is_known => return Err(unowned(&shards, &deal.missing)),
                Err(error) if !is_known || !error.is_retryable() => return Err(error),
                // Whatever is presumed of one that is away shows when it is back.
                Ok(false) | Err(_) => {
                    self.set_map(shards, &deal);
                    return Ok(());
                }
            }
        }
        Err(unowned(&self.places().shards, &BucketSet::NONE))
    }

    /// Looks for whoever has what nobody has, now that a shard has said what it owns.
    pub(super) async fn settle(&self) -> Result<(), StoreError> {
        if self.remap()?.is_empty() {
            return Ok(());
        }
        let _turn = self.refreshing.lock().await;
        self.find_owners().await
    }

    /// Takes in the peers that the shards name; whether there were new ones. One that owns nothing,
    /// because its buckets moved on or never came, is only asked whom it names in turn: nobody keeps
    /// its checkpoints up, and the log may have gone on without it.
    async fn follow_peers(&self) -> Result<bool, StoreError> {
        let Some(key) = self.options.key else { return Ok(false) };
        let mut shards = self.places().shards.clone();
        let (mut found, mut silent) = (false, None);
        let mut asked = shards.clone();
        let mut next = 0;
        while let Some(shard) = asked.get(next).cloned() {
            next += 1;
            let named = match peers(shard.inner()).await {
                Err(error) if error.is_retryable() => {
                    silent = Some(error);
                    continue;
                }
                named => named?,
            };
            for (name, sealed) in named {
                if asked.iter().any(|known| known.inner().name == name) {
                    continue;
                }
                let url = seal::open(&key, &sealed).and_then(|text| text.parse::<ShardUrl>().ok());
                let Some(url) = url else {
                    tracing::warn!(shard = %name, "the URL of a peer was sealed with another key");
                    continue;
                };
                let peer = PostgresShard::new(
                    name,
                    ShardOptions::new(url),
                    BucketSet::NONE,
                    &self.options,
                    &self.handles,
                    self.me.clone(),
                );
                match peer.inner().look().await {
                    Ok((_, standing)) => {
                        let is_spare = standing.buckets.is_empty();
                        peer.inner().set_standing(standing);
                        asked.push(peer.clone());
                        if is_spare {
                            continue;
                        }
                    }
                    Err(error) if error.is_retryable() => {
                        asked.push(peer.clone());
                        tracing::warn!(%error, "a shard that joined is away");
                    }
                    // It may have gone out of service. If it is needed, its buckets are missing.
                    Err(error) => {
                        asked.push(peer);
                        tracing::warn!(%error, "a shard that others name cannot be used");
                        continue;
                    }
                }
                tracing::warn!(
                    shard = peer.inner().name,
                    place = peer.inner().place(),
                    "buckets were moved to a shard that the configuration does not name. It is \
                     used; name it too, after the others: --store NAME=postgres://…"
                );
                shards.push(peer);
                found = true;
            }
        }
        self.check(&shards)?;
        let places = Arc::new(Places { shards, owners: self.places().owners.clone() });
        *self.places.write().unwrap_or_else(PoisonError::into_inner) = places;
        match silent {
            Some(error) if !found => Err(error),
            _ => Ok(found),
        }
    }
}

/// What a shard says of itself now.
pub(super) async fn ask(shard: &Inner) -> Result<Standing, StoreError> {
    if shard.standing().is_none() {
        return shard.look().await.map(|(_, standing)| standing);
    }
    let sql = format!("SELECT {} FROM shard", identity::COLUMNS);
    let rows = shard.side.lock().await.ask(shard.patience.write, &sql, &[]).await?;
    Standing::of(rows.first().ok_or_else(|| identity::empty(&shard.name))?)
}

async fn peers(shard: &Inner) -> Result<Vec<(String, Vec<u8>)>, StoreError> {
    if shard.standing().is_none() {
        return Ok(Vec::new());
    }
    let sql = "SELECT name, sealed_url FROM peers ORDER BY added_at";
    let rows = shard.side.lock().await.ask(shard.patience.write, sql, &[]).await?;
    rows.iter()
        .map(|row| {
            let read = |error| failure(&shard.name, &error);
            Ok((row.try_get(0).map_err(read)?, row.try_get(1).map_err(read)?))
        })
        .collect()
}

fn check(shards: &[PostgresShard], standings: &[Option<Standing>]) -> Result<(), StoreError> {
    let places: Vec<_> = shards.iter().map(|shard| shard.inner().place()).collect();
    let known: Vec<_> = shards
        .iter()
        .zip(&places)
        .zip(standings)
        .filter_map(|((shard, place), standing)| {
            let standing = standing.as_ref()?;
            Some(Checked { name: &shard.inner().name, place, standing })
        })
        .collect();
    identity::check(&known)
}

/// Deals the buckets out to shards that say these things of themselves.
pub(super) fn deal(
    shards: &[PostgresShard],
    standings: &[Option<Standing>],
) -> Result<Deal, StoreError> {
    let seats: Vec<_> = shards
        .iter()
        .zip(standings)
        .map(|(shard, standing)| Seat {
            name: shard.inner().name.clone(),
            share: shard.inner().share,
            standing: standing.clone(),
        })
        .collect();
    map::deal(&seats)
}

fn unowned(shards: &[PostgresShard], missing: &BucketSet) -> StoreError {
    let names: Vec<_> = shards.iter().map(|shard| shard.inner().name.as_str()).collect();
    StoreError::Misconfigured {
        what: format!(
            "buckets {missing} belong to none of the shards of the store: {}",
            names.join(", ")
        ),
        next: "Add the URL of the shard that they were moved to; where the shards name it, every \
               role needs the same key to read it"
            .into(),
    }
}
