//! The threads that do nothing but make things durable, so that the one that decides need not wait for the disk. It does
//! where it must: for a file of the journal that is replaced, which is a barrier (`Replace` in `act`), it waits for what is
//! being synced and syncs the rest itself, as it does at the start and at the stop; and where more jobs wait than should,
//! it helps ([`Syncer::drain`]).
//!
//! Lanes are queues of their own: one lane's jobs are done in order, different lanes' at the same time. A file system
//! commits what several threads ask for in one go, so six lanes take hardly longer than one. The first thread starts with
//! the first job; more, up to [`WORKERS`], when lanes wait. With [`Hold::Process`](super::Hold) they write as well.

use super::act::{Act, Dirty};
use super::{Done, folder::Lock};
use glasshouse_core::api::storage::Lane;
use glasshouse_core::store::disk::DiskError;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

/// Threads of one node. More would not make the disk faster.
const WORKERS: usize = 6;
/// Bytes of a thread's stack.
pub(super) const STACK: usize = 128 * 1024;

/// What is done for one lane.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) lane: Lane,
    /// Writes that were held back.
    pub(super) acts: Vec<Act>,
    pub(super) dirty: Dirty,
    /// Somebody waits to hear that it is done. A failure is told in any case.
    pub(super) report: bool,
    /// Set when it is done.
    pub(super) finished: Option<Arc<AtomicBool>>,
}

impl Job {
    /// Does it on the present thread.
    ///
    /// # Errors
    /// Of the disk.
    pub(super) fn run(&mut self) -> Result<(), DiskError> {
        for act in &self.acts {
            self.dirty.perform(act)?;
        }
        self.dirty.sync()?;
        for act in std::mem::take(&mut self.acts) {
            act.slot().close();
        }
        if let Some(finished) = &self.finished {
            finished.store(true, Ordering::Release);
        }
        Ok(())
    }
}

#[derive(Debug, Default)]
struct Queue {
    jobs: VecDeque<Job>,
    /// Lanes a job of which is being done.
    busy: Vec<Lane>,
    workers: usize,
    idle: usize,
    stopped: bool,
    /// Of the first job that failed. From then on nothing is said to be durable.
    failed: Option<DiskError>,
}

impl Queue {
    /// The next job whose lane is free, which is busy then.
    fn next(&mut self) -> Option<Job> {
        let at = self.jobs.iter().position(|job| !self.busy.contains(&job.lane))?;
        let job = self.jobs.remove(at)?;
        self.busy.push(job.lane.clone());
        Some(job)
    }

    /// Returns what is told of a job. Behind one that failed it is that failure: the threads tell in no order, and what
    /// the next one has synced may be told before it.
    fn finish(&mut self, lane: &Lane, result: Result<(), DiskError>) -> Result<(), DiskError> {
        self.busy.retain(|busy| busy != lane);
        if let Err(error) = result {
            self.failed.get_or_insert(error);
        }
        self.verdict()
    }

    fn verdict(&self) -> Result<(), DiskError> {
        self.failed.clone().map_or(Ok(()), Err)
    }
}

struct Shared {
    queue: Mutex<Queue>,
    /// There is work.
    work: Condvar,
    /// Something was finished.
    quiet: Condvar,
    done: Done,
    name: String,
    /// A folder is free for another process when nobody writes into it any more.
    _lock: Arc<Lock>,
}

/// The sending end.
pub(super) struct Syncer {
    shared: Arc<Shared>,
}

impl Syncer {
    pub(super) fn new(name: String, done: Done, lock: Arc<Lock>) -> Syncer {
        let (queue, work, quiet) = Default::default();
        Syncer { shared: Arc::new(Shared { queue, work, quiet, done, name, _lock: lock }) }
    }

    /// Puts a job behind those of its lane.
    ///
    /// # Errors
    /// When no thread can be started.
    pub(super) fn submit(&self, job: Job) -> Result<(), DiskError> {
        let mut queue = self.shared.queue();
        queue.jobs.push_back(job);
        let waiting = queue.jobs.iter().filter(|job| !queue.busy.contains(&job.lane)).count();
        if waiting > queue.idle && queue.workers < WORKERS {
            let shared = self.shared.clone();
            let thread = std::thread::Builder::new().name(shared.name.clone()).stack_size(STACK);
            match thread.spawn(move || shared.work()) {
                Ok(_) => queue.workers += 1,
                Err(error) if queue.workers == 0 => return Err(DiskError::Io(format!("no thread to sync: {error}"))),
                Err(_) => {}
            }
        }
        self.shared.work.notify_one();
        Ok(())
    }

    /// How many jobs nobody has begun.
    pub(super) fn waiting(&self) -> usize {
        self.shared.queue().jobs.len()
    }

    /// Does what waits, together with the threads, until nothing is left. It never calls `done` itself: the thread it
    /// runs on may be the one that makes room for what `done` tells.
    ///
    /// # Errors
    /// Of any job so far.
    pub(super) fn drain(&self) -> Result<(), DiskError> {
        self.help(|queue| queue.jobs.is_empty() && queue.busy.is_empty())
    }

    /// As [`drain`](Syncer::drain), but only until no more than so many wait.
    ///
    /// # Errors
    /// Of any job so far.
    pub(super) fn drain_to(&self, few: usize) -> Result<(), DiskError> {
        self.help(|queue| queue.jobs.len() <= few)
    }

    fn help(&self, is_enough: impl Fn(&Queue) -> bool) -> Result<(), DiskError> {
        let mut told = Vec::new();
        let mut queue = self.shared.queue();
        while !is_enough(&queue) {
            if let Some(mut job) = queue.next() {
                drop(queue);
                let result = job.run();
                queue = self.shared.queue();
                // Told below, and by everything that is told from now on.
                let _ = queue.finish(&job.lane, result);
                self.shared.wake_for_more(&queue);
                if job.report {
                    told.push(Job {
                        lane: job.lane,
                        acts: Vec::new(),
                        dirty: Dirty::default(),
                        report: true,
                        finished: None,
                    });
                }
            } else {
                queue = self.shared.quiet.wait(queue).unwrap_or_else(PoisonError::into_inner);
            }
        }
        queue.verdict()?;
        drop(queue);
        told.into_iter().try_for_each(|job| self.submit(job))
    }
}

impl Drop for Syncer {
    /// What was not begun never will be. A thread that waits for room to tell that it is done is not waited for.
    fn drop(&mut self) {
        let mut queue = self.shared.queue();
        queue.stopped = true;
        queue.jobs.clear();
        self.shared.work.notify_all();
    }
}

impl Shared {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A job was finished: another one of its lane may have become free to be done.
    fn wake_for_more(&self, queue: &Queue) {
        if !queue.jobs.is_empty() {
            self.work.notify_one();
        }
    }

    /// A thread's life.
    fn work(&self) {
        let mut queue = self.queue();
        while !queue.stopped {
            let Some(mut job) = queue.next() else {
                queue.idle += 1;
                queue = self.work.wait(queue).unwrap_or_else(PoisonError::into_inner);
                queue.idle -= 1;
                continue;
            };
            drop(queue);
            let result = job.run();
            queue = self.queue();
            let result = queue.finish(&job.lane, result);
            self.quiet.notify_all();
            self.wake_for_more(&queue);
            if job.report || result.is_err() {
                let stopped = queue.stopped;
                drop(queue);
                if !stopped {
                    (self.done)(job.lane, result);
                }
                queue = self.queue();
            }
        }
        queue.workers -= 1;
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Disk, FileDisk, Hold, Identity};
    use super::*;
    use bytes::Bytes;
    use glasshouse_core::id::NodeId;
    use std::path::PathBuf;
    use std::sync::mpsc;
    use std::time::Duration;

    /// A folder of its own, removed at the end.
    struct Folder(PathBuf);

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    fn open(done: Done) -> (Folder, FileDisk) {
        let number = getrandom::u64().expect("entropy");
        let folder = Folder(std::env::temp_dir().join(format!("glasshouse-sync-{number:016x}")));
        let identity = Identity { cluster: "c".to_owned(), node: NodeId::Broker(1) };
        let disk = FileDisk::open(&folder.0.join("data"), &identity, Hold::PageCache, done).unwrap();
        (folder, disk)
    }

    fn job(lane: &Lane, report: bool) -> Job {
        Job { lane: lane.clone(), acts: Vec::new(), dirty: Dirty::default(), report, finished: None }
    }

    #[test]
    fn nothing_is_durable_behind_a_sync_that_failed() {
        let (tell, told) = mpsc::channel();
        // Who has to tell of a failure is late.
        let done = Arc::new(move |_, result: Result<(), DiskError>| {
            std::thread::sleep(Duration::from_millis(if result.is_err() { 200 } else { 0 }));
            let _ = tell.send(result);
        });
        let (folder, mut disk) = open(done);
        disk.obey(folder.0.join("faults"));
        let file = disk.open(&Lane::Checkpoint, "x");
        disk.append(file, &[Bytes::from_static(b"records")]);
        disk.flush().unwrap();
        std::fs::write(folder.0.join("faults"), "fdatasync").unwrap();
        // What it covers is synced in the background, as where many files are dirty; the sync that is asked for finds
        // nothing more to do.
        let at = disk.lane_at[&Lane::Checkpoint];
        let dirty = disk.lanes[at].dirty.take();
        disk.submit_job(at, dirty, false).unwrap();
        disk.begin_sync(&Lane::Checkpoint);
        let results = [told.recv().unwrap(), told.recv().unwrap()];
        assert!(results.iter().all(Result::is_err), "{results:?}");
    }

    #[test]
    fn who_helps_wakes_a_thread_for_what_it_leaves() {
        let (tell, told) = mpsc::channel();
        let (_folder, disk) = open(Arc::new(move |lane, _| drop(tell.send(lane))));
        let shared = disk.syncer.shared.clone();
        disk.syncer.submit(job(&Lane::Journal, true)).unwrap();
        assert_eq!(told.recv().unwrap(), Lane::Journal);
        while shared.queue().idle == 0 {
            std::thread::yield_now();
        }
        // As if the thread had been woken for the second one while the first was being done, and had to wait for it.
        shared.queue().jobs.extend([job(&Lane::Checkpoint, false), job(&Lane::Checkpoint, true)]);
        disk.syncer.drain_to(1).unwrap();
        assert_eq!(told.recv_timeout(Duration::from_secs(10)), Ok(Lane::Checkpoint));
    }
}
