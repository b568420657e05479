//! What operators ask for, and write into `/admin` themselves.

use super::*;

/// `delete.topic.enable=false`: a wish is taken back whoever wrote it, also one from before this controller.
#[test]
fn a_deletion_that_is_not_allowed_is_taken_back() {
    let mut world = World::new(&[1, 2, 3]);
    world.create_topic("t", &[2, 3]);
    let forbid = Settings { delete_topic_enable: false, ..Settings::default() };
    world.controllers.values_mut().for_each(|controller| controller.set_settings(forbid.clone()));
    let wish = |world: &mut World, topic: &str| {
        world.create(0, &znodes::delete_topic(topic), None, CreateMode::Persistent).unwrap();
    };
    wish(&mut world, "t");
    wish(&mut world, "nothing");
    world.settle();
    assert_eq!(world.children(znodes::DELETE_TOPICS), Vec::<Arc<str>>::new());
    assert_eq!(world.state("t"), "2 of 2,3 at 0/1, v0");
    world.frozen = Some(1);
    wish(&mut world, "t");
    world.settle();
    world.kill(1);
    assert_eq!(world.active(), 2);
    assert_eq!(world.children(znodes::DELETE_TOPICS), Vec::<Arc<str>>::new());
    assert_eq!(world.state("t"), "2 of 2,3 at 0/1, v0");
}

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
