//! What operators ask for, and write into `/admin` themselves.

use super::*;

/// Whatever is asked is answered, in the shape of its own API.
#[test]
fn every_request_of_a_controller_is_answered() {
    for key in kafka::ApiKey::ALL {
        let request = Request::empty(*key);
        if !Controller::wants(&request) {
            continue;
        }
        for of in [1, 2] {
            let mut world = World::new(&[1, 2, 3]);
            assert_eq!(world.ask(of, 5, key.max_version(), request.clone()).key(), *key);
        }
    }
}
