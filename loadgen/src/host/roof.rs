//! The reader of the roof: takes connections and drops what comes over them, with reads of the same size as a client's.

use super::turn::turn;
use futures_lite::future::poll_fn;
use futures_lite::io::AsyncRead as _;
use glommio::net::{TcpListener, TcpStream};
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use twincast_client::limits::RECEIVE_BYTES;

/// Listens on a free port of this address.
pub(super) fn listen(address: IpAddr) -> Result<SocketAddr, String> {
    let failed = |error: &dyn std::fmt::Display| format!("cannot listen for the roof's connections: {error}");
    let listener = TcpListener::bind(SocketAddr::new(address, 0)).map_err(|error| failed(&error))?;
    let address = listener.local_addr().map_err(|error| failed(&error))?;
    glommio::spawn_local(async move {
        while let Ok(stream) = listener.accept().await {
            glommio::spawn_local(drop_all(stream)).detach();
        }
    })
    .detach();
    Ok(address)
}

async fn drop_all(mut stream: TcpStream) {
    let mut buffer = vec![0; RECEIVE_BYTES];
    while let Ok(bytes @ 1..) = poll_fn(|cx| Pin::new(&mut stream).poll_read(cx, &mut buffer)).await {
        if bytes == buffer.len() {
            turn().await;
        }
    }
}
