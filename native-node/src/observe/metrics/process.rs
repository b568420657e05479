//! What the kernel tells of the whole process, which several nodes may share.

use super::report::Report;
use rustix::process::{Resource, getrlimit};

/// What every Prometheus client tells of its process.
pub fn report(report: &mut Report) {
    let read = |file: &str| std::fs::read_to_string(file).unwrap_or_default();
    let status = read("/proc/self/status");
    let resident =
        status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.trim().split(' ').next()?.parse::<u64>().ok());
    if let Some(kilobytes) = resident {
        report.gauge("process_resident_memory_bytes", kilobytes * 1024);
    }
    // The fields behind the name, which may hold anything but a closing bracket; times are in hundredths of a second.
    let stat = read("/proc/self/stat");
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks = |at: usize| fields.get(at).and_then(|field| field.parse::<u64>().ok());
    if let (Some(user), Some(system)) = (ticks(11), ticks(12)) {
        report.counter("process_cpu_seconds_total", (user + system) as f64 / 100.0);
    }
    if let Some(open) = open_descriptors() {
        report.gauge("process_open_fds", open);
    }
}

/// Descriptors that are open; nobody knows where there is no `/proc`.
pub fn open_descriptors() -> Option<usize> {
    Some(std::fs::read_dir("/proc/self/fd").ok()?.count())
}

/// Descriptors that may be open; `None`: as many as one likes.
pub fn most_descriptors() -> Option<u64> {
    getrlimit(Resource::Nofile).current
}
