//! Connections to every core of the engine: to the first address that answers, and from its map to
//! the rest.

use crate::projector::ProjectorConfig;
use doorbuster_client::{ClientError, FeedClient};

/// Why there are no connections.
#[derive(Debug)]
pub(super) enum Unconnected {
    /// No address was given.
    NoAddress,
    /// A core does not answer, or does not let us in.
    Lost(ClientError),
    /// The cores are not of one engine: one of them has just been replaced.
    Mixed,
}

/// A connection to every core, none of which is subscribed to anything.
pub(super) async fn connect(config: &ProjectorConfig) -> Result<Vec<FeedClient>, Unconnected> {
    let network = &*config.network;
    let mut last = Unconnected::NoAddress;
    for address in &config.engine {
        let first = match FeedClient::connect_over(network, *address, &config.key).await {
            Ok(client) => client,
            Err(error) => {
                last = Unconnected::Lost(error);
                continue;
            }
        };
        let map = first.map().clone();
        let mut clients = vec![first];
        for (core, address) in map.cores.iter().enumerate() {
            if core == usize::from(map.self_core) {
                continue;
            }
            let client = FeedClient::connect_over(network, *address, &config.key)
                .await
                .map_err(Unconnected::Lost)?;
            let other = client.map();
            if (other.directory, &other.owners) != (map.directory, &map.owners) {
                return Err(Unconnected::Mixed);
            }
            clients.push(client);
        }
        return Ok(clients);
    }
    Err(last)
}
