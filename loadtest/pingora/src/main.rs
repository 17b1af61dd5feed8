//! The least proxy that pingora can be: one hop to Unix sockets in turn, an id per request.
//!
//! `pingora-peer THREADS LISTEN[,LISTEN] SOCKET...`

use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use pingora::http::RequestHeader;
use pingora::prelude::{HttpPeer, ProxyHttp, Result, Session, http_proxy_service};
use pingora::server::Server;
use pingora::server::configuration::ServerConf;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Knows which version of the framework this is.
const LOCK: &str = include_str!("../Cargo.lock");

struct Workers {
    sockets: Vec<String>,
    turn: AtomicUsize,
}

#[async_trait]
impl ProxyHttp for Workers {
    type CTX = ();

    fn new_ctx(&self) -> Self::CTX {}

    async fn upstream_peer(&self, _: &mut Session, (): &mut ()) -> Result<Box<HttpPeer>> {
        let turn = self.turn.fetch_add(1, Ordering::Relaxed) % self.sockets.len();
        HttpPeer::new_uds(&self.sockets[turn], false, String::new()).map(Box::new)
    }

    async fn upstream_request_filter(
        &self,
        _: &mut Session,
        request: &mut RequestHeader,
        (): &mut (),
    ) -> Result<()> {
        request.insert_header("X-Request-ID", format!("{:032x}", fastrand::u128(..)))
    }
}

fn main() {
    let mut args = std::env::args().skip(1).peekable();
    if args.peek().is_some_and(|first| first == "--version") {
        let version =
            LOCK.split("name = \"pingora\"\nversion = \"").nth(1).and_then(|rest| rest.split('"').next());
        println!("pingora {}", version.unwrap_or("of unknown version"));
        return;
    }
    let threads = args.next().and_then(|text| text.parse().ok()).expect("THREADS");
    let listen = args.next().expect("LISTEN[,LISTEN]");
    let conf = ServerConf { threads, upstream_keepalive_pool_size: 1024, ..ServerConf::default() };
    let mut server = Server::new_with_opt_and_conf(None, conf);
    server.bootstrap();
    let workers = Workers { sockets: args.collect(), turn: AtomicUsize::new(0) };
    let mut service = http_proxy_service(&server.configuration, workers);
    listen.split(',').for_each(|address| service.add_tcp(address));
    server.add_service(service);
    server.run_forever();
}
