//! Windows of unconfirmed items, for clients that bring none.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Result, anyhow};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The places of a window, and the error that ended it, if any.
#[derive(Debug, Clone)]
pub(crate) struct Places {
    size: usize,
    free: Arc<Semaphore>,
    error: Arc<Mutex<Option<String>>>,
}

impl Places {
    pub(crate) fn new(size: usize) -> Self {
        Self {
            size,
            free: Arc::new(Semaphore::new(size)),
            error: Arc::default(),
        }
    }

    pub(crate) async fn take(&self) -> Result<OwnedSemaphorePermit> {
        let permit = self.free.clone().acquire_owned().await;
        permit.map_err(|_| self.reason())
    }

    /// Waits until every place is free.
    pub(crate) async fn all_free(&self) -> Result<()> {
        let all = self.free.acquire_many(u32::try_from(self.size)?).await;
        all.map(drop).map_err(|_| self.reason())
    }

    pub(crate) fn fail(&self, error: impl fmt::Display) {
        let mut first = self.error.lock().unwrap_or_else(PoisonError::into_inner);
        first.get_or_insert_with(|| error.to_string());
        drop(first);
        self.free.close();
    }

    fn reason(&self) -> anyhow::Error {
        let reason = self.error.lock().unwrap_or_else(PoisonError::into_inner);
        let reason = reason.as_deref().unwrap_or("the window is closed");
        anyhow!("{reason}")
    }
}

#[cfg(feature = "peers")]
pub(crate) use confirms::ConfirmWindow;

#[cfg(feature = "peers")]
mod confirms {
    use std::fmt;

    use anyhow::Result;
    use futures_util::future::BoxFuture;
    use tokio::sync::{OwnedSemaphorePermit, mpsc};
    use tokio::task::JoinSet;

    use super::Places;
    use crate::driver::OnConfirm;

    type Confirmation = BoxFuture<'static, Result<()>>;
    type Waiting = (u64, OwnedSemaphorePermit, Confirmation);

    /// A window for clients that hand out one future for each published item and resolve them in order.
    pub(crate) struct ConfirmWindow {
        pub(crate) places: Places,
        waiting: mpsc::Sender<Waiting>,
        _task: JoinSet<()>,
    }

    impl fmt::Debug for ConfirmWindow {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.debug_struct("ConfirmWindow").finish_non_exhaustive()
        }
    }

    impl ConfirmWindow {
        pub(crate) fn new(size: usize, on_confirm: Option<OnConfirm>) -> Self {
            let places = Places::new(size);
            // As many as have a place, so that there is always room.
            let (waiting, queue) = mpsc::channel(size);
            let mut task = JoinSet::new();
            task.spawn(confirm(queue, places.clone(), on_confirm));
            Self {
                places,
                waiting,
                _task: task,
            }
        }

        pub(crate) fn sent(&self, id: u64, permit: OwnedSemaphorePermit, confirmed: Confirmation) {
            // A closed channel means that the window has failed; the next `take` says why.
            let _ = self.waiting.try_send((id, permit, confirmed));
        }
    }

    async fn confirm(
        mut queue: mpsc::Receiver<Waiting>,
        places: Places,
        on_confirm: Option<OnConfirm>,
    ) {
        while let Some((id, permit, confirmed)) = queue.recv().await {
            match confirmed.await {
                Ok(()) => on_confirm.iter().for_each(|on_confirm| on_confirm.call(id)),
                Err(error) => return places.fail(error),
            }
            drop(permit);
        }
    }
}
