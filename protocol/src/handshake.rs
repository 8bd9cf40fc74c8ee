//! The opening exchange: versions, nonces, proofs of the pre-shared key, and the partition map.
//!
//! ```text
//! client                                    server
//! Hello     versions, client nonce     ──▶
//!                                      ◀──  Challenge  version chosen, versions, server nonce
//! Proof     HMAC(key, client label …)  ──▶
//!                                      ◀──  Welcome    HMAC(key, server label …), partition map
//! ```
//!
//! Each proof covers everything said before it: a recorded exchange does not open a second
//! connection, nobody in between can talk the two down to an older version, and a server that does
//! not know the key cannot make a client believe its map. The server answers with its own proof
//! only to a client that has proven itself, so a stranger gets nothing to guess at.

use crate::frame::{VERSION_MAX, VERSION_MIN};
use crate::record::{Malformed, Reader, Write};
use crate::routing::PartitionCount;
use crate::{Epoch, PartitionId, limits};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use std::fmt;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

/// Bytes of the body of a `Hello`.
pub const HELLO_BYTES: u32 = 40;
/// Bytes of the body of a `Challenge`.
pub const CHALLENGE_BYTES: u32 = 40;
/// Bytes of a proof.
pub const PROOF_BYTES: u32 = 32;
/// Bytes of the body of a `Refused`.
pub const REFUSED_BYTES: u32 = 8;
/// Bytes of a nonce.
pub const NONCE_BYTES: usize = 32;

const MAP_HEADER_BYTES: u32 = 20;
const ADDRESS_BYTES: u32 = 20;
const OWNER_BYTES: u32 = 2;
/// Bytes of the smallest partition map: one core, one partition.
pub const MAP_BYTES_MIN: u32 = MAP_HEADER_BYTES + ADDRESS_BYTES + OWNER_BYTES;
/// Bytes of the largest partition map.
pub const MAP_BYTES_MAX: u32 = MAP_HEADER_BYTES
    + ADDRESS_BYTES * limits::CORES_MAX as u32
    + OWNER_BYTES * limits::PARTITIONS_MAX as u32;
const _: () = assert!((PROOF_BYTES + MAP_BYTES_MAX) as usize <= limits::REPLY_BODY_MAX);

const CLIENT_LABEL: &[u8; 24] = b"doorbuster/1 client\0\0\0\0\0";
const SERVER_LABEL: &[u8; 24] = b"doorbuster/1 server\0\0\0\0\0";

/// The secret that engine and clients share: 32 random bytes. Never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct PreSharedKey([u8; 32]);

impl PreSharedKey {
    /// The key with these bytes.
    pub const fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// From 64 hexadecimal digits; `None` for anything else.
    pub fn from_hex(text: &str) -> Option<Self> {
        let text: &[u8; 64] = text.as_bytes().try_into().ok()?;
        let mut bytes = [0; 32];
        for (byte, digits) in bytes.iter_mut().zip(text.chunks_exact(2)) {
            let high = char::from(digits[0]).to_digit(16)?;
            let low = char::from(digits[1]).to_digit(16)?;
            *byte = (high << 4 | low) as u8;
        }
        Some(Self(bytes))
    }

    fn mac(&self, parts: &[&[u8]]) -> Hmac<Sha256> {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.0).expect("HMAC takes any key length");
        for part in parts {
            mac.update(part);
        }
        mac
    }

    fn proof(&self, parts: &[&[u8]]) -> [u8; 32] {
        self.mac(parts).finalize().into_bytes().into()
    }

    /// Compares in constant time.
    fn verifies(&self, parts: &[&[u8]], proof: &[u8; 32]) -> bool {
        self.mac(parts).verify_slice(proof).is_ok()
    }
}

impl fmt::Debug for PreSharedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PreSharedKey(redacted)")
    }
}

/// The bodies of `Hello` and `Challenge`, as they stood on the wire: what proofs are made over.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Transcript {
    pub(crate) hello: [u8; HELLO_BYTES as usize],
    pub(crate) challenge: [u8; CHALLENGE_BYTES as usize],
}

impl Transcript {
    pub(crate) fn client_proof(&self, key: &PreSharedKey) -> [u8; 32] {
        key.proof(&[CLIENT_LABEL, &self.hello, &self.challenge])
    }

    pub(crate) fn client_is_proven(&self, key: &PreSharedKey, proof: &[u8; 32]) -> bool {
        key.verifies(&[CLIENT_LABEL, &self.hello, &self.challenge], proof)
    }

    pub(crate) fn server_proof(&self, key: &PreSharedKey, map: &[u8]) -> [u8; 32] {
        key.proof(&[SERVER_LABEL, &self.hello, &self.challenge, map])
    }

    pub(crate) fn server_is_proven(
        &self,
        key: &PreSharedKey,
        map: &[u8],
        proof: &[u8; 32],
    ) -> bool {
        key.verifies(&[SERVER_LABEL, &self.hello, &self.challenge, map], proof)
    }
}

/// The opening message of a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Hello {
    pub(crate) version_min: u8,
    pub(crate) version_max: u8,
    pub(crate) nonce: [u8; NONCE_BYTES],
}

impl Hello {
    pub(crate) fn encode(&self) -> [u8; HELLO_BYTES as usize] {
        let mut body = [0; HELLO_BYTES as usize];
        body[0] = self.version_min;
        body[1] = self.version_max;
        body[8..].copy_from_slice(&self.nonce);
        body
    }

    pub(crate) fn decode(body: &[u8]) -> Result<Self, Malformed> {
        let mut from = Reader::new(body);
        let (version_min, version_max) = (from.u8()?, from.u8()?);
        if from.u16()? != 0 || from.u32()? != 0 {
            return Err(Malformed::OutOfRange("reserved"));
        }
        Ok(Self { version_min, version_max, nonce: from.array()? })
    }

    /// The newest version that both sides speak.
    pub(crate) fn choose(&self) -> Option<u8> {
        let version = self.version_max.min(VERSION_MAX);
        (version >= self.version_min.max(VERSION_MIN)).then_some(version)
    }
}

/// The server's answer to a `Hello`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Challenge {
    pub(crate) version: u8,
    pub(crate) version_min: u8,
    pub(crate) version_max: u8,
    pub(crate) nonce: [u8; NONCE_BYTES],
}

impl Challenge {
    pub(crate) fn encode(&self) -> [u8; CHALLENGE_BYTES as usize] {
        let mut body = [0; CHALLENGE_BYTES as usize];
        body[0] = self.version;
        body[1] = self.version_min;
        body[2] = self.version_max;
        body[8..].copy_from_slice(&self.nonce);
        body
    }

    pub(crate) fn decode(body: &[u8]) -> Result<Self, Malformed> {
        let mut from = Reader::new(body);
        let (version, version_min, version_max) = (from.u8()?, from.u8()?, from.u8()?);
        if from.u8()? != 0 || from.u32()? != 0 {
            return Err(Malformed::OutOfRange("reserved"));
        }
        Ok(Self { version, version_min, version_max, nonce: from.array()? })
    }
}

/// Why a server will not serve a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// No version that both sides speak.
    #[error("the server speaks protocol versions {min} to {max}: upgrade the older of the two")]
    Version {
        /// The oldest version of the server.
        min: u8,
        /// The newest version of the server.
        max: u8,
    },
    /// The client's proof does not hold.
    #[error("the server does not accept the pre-shared key: give both sides the same one")]
    Key,
    /// The core has as many connections as it takes.
    #[error("the server has as many connections as it takes: try again later")]
    Crowded,
    /// The server drains or has not started yet.
    #[error("the server is starting or stopping: try again later")]
    Unavailable,
}

impl Refusal {
    pub(crate) fn encode(self) -> [u8; REFUSED_BYTES as usize] {
        let (code, min, max) = match self {
            Self::Version { min, max } => (1, min, max),
            Self::Key => (2, VERSION_MIN, VERSION_MAX),
            Self::Crowded => (3, VERSION_MIN, VERSION_MAX),
            Self::Unavailable => (4, VERSION_MIN, VERSION_MAX),
        };
        [code, min, max, 0, 0, 0, 0, 0]
    }

    pub(crate) fn decode(body: &[u8]) -> Result<Self, Malformed> {
        let mut from = Reader::new(body);
        let (code, min, max) = (from.u8()?, from.u8()?, from.u8()?);
        match code {
            1 => Ok(Self::Version { min, max }),
            2 => Ok(Self::Key),
            3 => Ok(Self::Crowded),
            4 => Ok(Self::Unavailable),
            _ => Err(Malformed::OutOfRange("refusal")),
        }
    }
}

/// Who owns what: the address of every core, and the core of every partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionMap {
    /// The random id of the data directory: another one is another engine.
    pub directory: u64,
    /// The reign in which the map holds.
    pub epoch: Epoch,
    /// How many partitions there are.
    pub partitions: PartitionCount,
    /// The core that sent the map, an index into `cores`.
    pub self_core: u16,
    /// Where each core listens; 1 to [`limits::CORES_MAX`].
    pub cores: Vec<SocketAddr>,
    /// The core of each partition, an index into `cores`.
    pub owners: Vec<u16>,
}

impl PartitionMap {
    /// The core that owns `partition`, when there is such a partition.
    pub fn owner_of(&self, partition: PartitionId) -> Option<u16> {
        self.owners.get(partition.index()).copied()
    }

    /// Whether counts and indices fit each other; the name of the first that does not.
    pub fn check(&self) -> Result<(), Malformed> {
        let cores = self.cores.len();
        if cores == 0 || cores > usize::from(limits::CORES_MAX) {
            return Err(Malformed::OutOfRange("cores"));
        }
        if self.owners.len() != usize::from(self.partitions.get()) {
            return Err(Malformed::OutOfRange("owners"));
        }
        if self.owners.iter().any(|&owner| usize::from(owner) >= cores) {
            return Err(Malformed::OutOfRange("owner"));
        }
        if usize::from(self.self_core) >= cores {
            return Err(Malformed::OutOfRange("core"));
        }
        Ok(())
    }

    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        self.check().expect("a server's map is sound");
        out.put_u64(self.directory);
        out.put_u32(self.epoch.get());
        out.put_u16(self.partitions.get());
        out.put_u16(self.cores.len() as u16);
        out.put_u16(self.self_core);
        out.put_u16(0);
        for address in &self.cores {
            let (family, octets) = match address.ip() {
                IpAddr::V4(ip) => (4, ip.to_ipv6_mapped().octets()),
                IpAddr::V6(ip) => (6, ip.octets()),
            };
            out.put(&octets);
            out.put_u16(address.port());
            out.put_u8(family);
            out.put_u8(0);
        }
        for owner in &self.owners {
            out.put_u16(*owner);
        }
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut from = Reader::new(bytes);
        let directory = from.u64()?;
        let epoch = Epoch::new(from.u32()?);
        let partitions =
            PartitionCount::new(from.u16()?).ok_or(Malformed::OutOfRange("partitions"))?;
        let cores = from.u16()?;
        let self_core = from.u16()?;
        if from.u16()? != 0 {
            return Err(Malformed::OutOfRange("reserved"));
        }
        if cores == 0 || cores > limits::CORES_MAX {
            return Err(Malformed::OutOfRange("cores"));
        }
        let cores = (0..cores).map(|_| address(&mut from)).collect::<Result<Vec<_>, _>>()?;
        let owners =
            (0..partitions.get()).map(|_| from.u16()).collect::<Result<Vec<_>, Malformed>>()?;
        if !from.is_empty() {
            return Err(Malformed::Oversized);
        }
        let map = Self { directory, epoch, partitions, self_core, cores, owners };
        map.check()?;
        Ok(map)
    }
}

fn address(from: &mut Reader<'_>) -> Result<SocketAddr, Malformed> {
    let ip = Ipv6Addr::from(from.array::<16>()?);
    let port = from.u16()?;
    let ip = match (from.u8()?, ip.to_ipv4_mapped()) {
        (4, Some(ip)) => IpAddr::V4(ip),
        (6, _) => IpAddr::V6(ip),
        _ => return Err(Malformed::OutOfRange("address")),
    };
    if from.u8()? != 0 {
        return Err(Malformed::OutOfRange("reserved"));
    }
    Ok(SocketAddr::new(ip, port))
}
