//! The suite every disk passes, on the simulated one.

use glasshouse_core::api::storage::Lane;
use glasshouse_core::record::offset::Position;
use glasshouse_core::sim::disk::SimDisk;
use glasshouse_core::store::conformance::{self, Bench};
use glasshouse_core::store::disk::Disk;

struct Simulated;

impl Bench for Simulated {
    type Disk = SimDisk;

    fn fresh(&mut self) -> SimDisk {
        SimDisk::new()
    }

    fn reopen(&mut self, disk: SimDisk) -> SimDisk {
        disk
    }

    fn cut(&mut self, mut disk: SimDisk, name: &str, to: Position) -> SimDisk {
        let file = disk.open(&Lane::Checkpoint, name);
        disk.truncate(file, to);
        disk
    }

    fn flip(&mut self, mut disk: SimDisk, name: &str, at: Position) -> SimDisk {
        assert!(disk.flip(name, at, 3), "{name} has a byte at {at}");
        disk
    }
}

#[test]
fn the_simulated_disk_conforms() {
    conformance::check(&mut Simulated);
}
