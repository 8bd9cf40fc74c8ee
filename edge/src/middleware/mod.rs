//! What every request passes before its handler: one concern per file.

pub(crate) mod authentication;
pub(crate) mod rate_limit;
pub(crate) mod request_id;
pub(crate) mod spare_time;
