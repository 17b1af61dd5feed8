//! Behind a change of protocol: bytes both ways, as one long request (FC contract §3.8).

use std::time::Duration;

use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncWriteExt, copy, split};

use super::invocation::Running;
use super::link::Kept;
use super::payload::Loss;
use crate::clock;

/// How long the instance may still speak after the client has left: the platform closes 1 to 10 s later.
const PATIENCE: Duration = Duration::from_secs(1);

/// Moves bytes until one side ends; it holds a place and keeps the instance running all the time.
pub(super) async fn run(client: OnUpgrade, instance: OnUpgrade, mut running: Running, kept: Kept) {
    let (client, instance) = match tokio::try_join!(client, instance) {
        Ok(both) => both,
        Err(_) => {
            running.lose(Loss::Canceled);
            return;
        }
    };
    // Its driver has handed the bytes over.
    drop(kept);
    let (mut from_client, mut to_client) = split(TokioIo::new(client));
    let (mut from_instance, mut to_instance) = split(TokioIo::new(instance));
    let up = async {
        // A client that is gone has ended.
        let _ = copy(&mut from_client, &mut to_instance).await;
        let _ = to_instance.shutdown().await;
        clock::sleep(PATIENCE).await;
    };
    let down = async {
        let _ = copy(&mut from_instance, &mut to_client).await;
        let _ = to_client.shutdown().await;
    };
    let is_late = tokio::select! {
        () = up => false,
        () = down => false,
        () = running.timer() => true,
    };
    if is_late {
        let loss = running.time_out();
        running.lose(loss);
    } else if running.instance().exit().is_some() {
        running.lose(Loss::Exited);
    } else {
        running.finish();
    }
}
