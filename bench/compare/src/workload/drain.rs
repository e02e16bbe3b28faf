//! Consumers that receive, check and acknowledge until everything is gone from the server.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use anyhow::Result;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::args::Shape;
use crate::driver::{Consumer as _, Driver, OnConfirm};
use crate::items::{Ledger, PayloadMaker};

/// How long a drain may go without a delivery before the run is given up as lossy.
const STALL: Duration = Duration::from_secs(30);
/// For what a server may still hand out after its consumers have gone.
const GONE: Duration = Duration::from_secs(5);
/// How long a consumer waits for a delivery before it looks whether it is over.
const RECEIVE: Duration = Duration::from_millis(200);
/// A RabbitMQ channel drops acks of a quorum queue that it has not passed on yet when it is closed.
const BEFORE_CLOSE: Duration = Duration::from_millis(300);

#[derive(Debug)]
pub(super) struct Drain<D: Driver> {
    ledger: Arc<Ledger>,
    stop: watch::Sender<bool>,
    tasks: JoinSet<Result<D::Consumer>>,
}

/// What each consumer needs.
struct Worker<C> {
    consumer: C,
    ledger: Arc<Ledger>,
    maker: PayloadMaker,
    on_receive: Option<OnConfirm>,
    stop: watch::Receiver<bool>,
}

impl<D: Driver> Drain<D> {
    pub(super) async fn start(
        driver: &D,
        shape: Shape,
        ledger: Arc<Ledger>,
        on_receive: Option<OnConfirm>,
    ) -> Result<Self> {
        let stop = watch::Sender::new(false);
        let mut tasks = JoinSet::new();
        let maker = PayloadMaker::new(shape.payload);
        for _ in 0..shape.consumers {
            let worker = Worker {
                consumer: driver.consumer(shape.prefetch).await?,
                ledger: ledger.clone(),
                maker: maker.clone(),
                on_receive: on_receive.clone(),
                stop: stop.subscribe(),
            };
            tasks.spawn(worker.run());
        }
        Ok(Self {
            ledger,
            stop,
            tasks,
        })
    }

    /// Waits until `expected` items are received, acknowledged and gone from the server.
    pub(super) async fn finish(mut self, driver: &D, expected: u64) -> Result<Drained<D>> {
        let mut progress = (0, Instant::now());
        loop {
            let distinct = self.ledger.distinct.load(Relaxed);
            if distinct >= expected || progress.1.elapsed() > STALL {
                break;
            }
            if distinct > progress.0 {
                progress = (distinct, Instant::now());
            }
            tokio::select! {
                Some(failed) = self.tasks.join_next() => drop(failed??),
                () = tokio::time::sleep(Duration::from_millis(1)) => {}
            }
        }
        self.stop.send_replace(true);
        let mut consumers = Vec::new();
        while let Some(task) = self.tasks.join_next().await {
            consumers.push(task??);
        }
        empty(driver, STALL).await?;
        Ok(Drained {
            settled: Instant::now(),
            consumers,
        })
    }
}

impl<C: crate::driver::Consumer> Worker<C> {
    async fn run(mut self) -> Result<C> {
        let mut batch = Vec::new();
        loop {
            batch.clear();
            // Stopping cuts a wait short: by then every expected item has come.
            tokio::select! {
                biased;
                got = self.consumer.receive(RECEIVE, &mut batch) => got?,
                _ = self.stop.wait_for(|&stop| stop) => return Ok(self.consumer),
            }
            for payload in &batch {
                let id = self.maker.check(payload);
                if let (Some(on_receive), Some(id)) = (&self.on_receive, id) {
                    on_receive.call(id);
                }
                self.ledger.see(id);
            }
            if !batch.is_empty() {
                self.consumer.ack().await?;
            }
        }
    }
}

/// Consumers that have acknowledged everything and are still connected.
#[derive(Debug)]
pub(super) struct Drained<D: Driver> {
    /// When everything was gone from the server.
    pub(super) settled: Instant,
    consumers: Vec<D::Consumer>,
}

impl<D: Driver> Drained<D> {
    /// Closes the consumers, off the clock, and returns how many items the server still holds: 0 if all is well.
    pub(super) async fn close(self, driver: &D) -> Result<u64> {
        tokio::time::sleep(BEFORE_CLOSE).await;
        for consumer in self.consumers {
            consumer.close().await?;
        }
        empty(driver, GONE).await
    }
}

/// Waits until the server holds no items; returns how many it does hold after `patience`.
async fn empty<D: Driver>(driver: &D, patience: Duration) -> Result<u64> {
    let give_up = Instant::now() + patience;
    loop {
        let depth = driver.depth().await?;
        if depth == 0 || Instant::now() > give_up {
            return Ok(depth);
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

#[cfg(test)]
mod tests {
    use std::net::{SocketAddr, TcpListener};

    use super::super::publish::{Limit, publish_all};
    use super::*;
    use crate::drivers::floor::Floor;
    use crate::floor::server;

    const SHAPE: Shape = Shape {
        producers: 2,
        consumers: 2,
        window: 16,
        prefetch: 16,
        payload: 100,
    };

    fn free_address() -> SocketAddr {
        TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap()
    }

    async fn connect(address: SocketAddr) -> Floor {
        loop {
            match Floor::connect(&format!("http://{address}")).await {
                Ok(driver) => return driver,
                Err(_) => tokio::time::sleep(Duration::from_millis(5)).await,
            }
        }
    }

    #[tokio::test]
    async fn what_goes_through_the_bare_stream_comes_once_and_is_acknowledged() {
        let address = free_address();
        let mut serving = JoinSet::new();
        serving.spawn(server::serve(address));
        let driver = connect(address).await;
        let ledger = Arc::new(Ledger::new(1000));
        let drain = Drain::start(&driver, SHAPE, ledger.clone(), None)
            .await
            .unwrap();
        let limit = Limit {
            time: Duration::from_secs(60),
            items: 1000,
        };
        let items = publish_all(&driver, SHAPE, limit).await.unwrap();
        let drained = drain.finish(&driver, items).await.unwrap();
        let left = drained.close(&driver).await.unwrap();
        assert_eq!((items, left, ledger.fault(items, left)), (1000, 0, None));
        assert!(ledger.fault(items + 1, left).unwrap().contains("missing 1"));
    }
}
