//! The house's own order, held by plain tests: layers, module docs, dead files, lengths and words nobody may write.
//!
//! Each test gathers every trespass before it fails, so that one run tells all.

mod files;

use files::{File, rooms_used};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;

/// A file this long is read in one sitting; the list of those above it is printed.
const LINES_WISHED: usize = 600;
/// No file is longer.
const LINES_ALLOWED: usize = 800;

/// Fails with one line for each trespass.
#[track_caller]
fn hold(rule: &str, trespasses: &[String]) {
    assert!(trespasses.is_empty(), "{rule}:\n  {}\n", trespasses.join("\n  "));
}

/// The rooms of the core in the order of `lib.rs`, each with the heading (`// Foundations.`) it stands under.
fn rooms() -> Vec<(String, String)> {
    let text = fs::read_to_string(files::root().join("core/src/lib.rs")).expect("the core has a lib.rs");
    let mut heading = String::new();
    let mut rooms = Vec::new();
    for line in text.lines() {
        if let Some(words) = line.strip_prefix("// ") {
            heading = words.to_owned();
        } else if let Some(room) = line.strip_prefix("pub mod ").and_then(|rest| rest.strip_suffix(';')) {
            rooms.push((room.to_owned(), heading.clone()));
        }
    }
    rooms
}

/// The room of a file of the core; `None` for `lib.rs` and for what is not the core.
fn room_of(file: &File) -> Option<&str> {
    let inside = file.path.strip_prefix("core/src/")?;
    let room = inside.split('/').next()?.trim_end_matches(".rs");
    (room != "lib").then_some(room)
}

#[test]
fn every_room_of_the_core_stands_under_a_heading() {
    let rooms = rooms();
    assert!(rooms.len() > 15, "lib.rs lists the rooms as `pub mod NAME;`, one a line; found {}", rooms.len());
    let headings: BTreeSet<_> = rooms.iter().map(|(_, heading)| heading.as_str()).collect();
    assert!(!headings.contains(""), "a room stands above the first heading: {rooms:?}");
    let listed: BTreeSet<_> = rooms.iter().map(|(room, _)| room.as_str()).collect();
    let files = files::rust();
    let found: BTreeSet<_> = files.iter().filter_map(room_of).collect();
    assert_eq!(listed, found, "the rooms of lib.rs, and the files and folders beside it");
}

#[test]
fn a_file_of_the_core_imports_only_from_rooms_above_its_own() {
    let order: BTreeMap<String, usize> = rooms().into_iter().enumerate().map(|(at, (room, _))| (room, at)).collect();
    let mut trespasses = Vec::new();
    for file in files::rust() {
        let Some(own) = room_of(&file) else { continue };
        for (number, line) in file.code() {
            for used in rooms_used(line) {
                // Macros and re-exports at the root are no rooms.
                if order.get(used) > order.get(own) {
                    trespasses.push(format!("{}:{number}: {own} uses {used}, which stands below it", file.path));
                }
            }
        }
    }
    hold("a file imports from rooms listed above its own in core/src/lib.rs, never from below", &trespasses);
}

#[test]
fn arrows_between_the_crates_point_down() {
    let mut trespasses = Vec::new();
    for file in files::rust() {
        let owner = file.path.split('/').next().unwrap_or_default();
        let strangers: &[&str] = match owner {
            "core" => &["glasshouse_web", "glasshouse_tests", "glasshouse_node", "yew", "web_sys", "tokio"],
            "web-app" => &["glasshouse_tests", "glasshouse_node", "tokio"],
            "native-node" => &["glasshouse_tests", "glasshouse_web", "yew", "web_sys"],
            _ => &[],
        };
        for (number, line) in file.code() {
            for stranger in strangers.iter().filter(|s| line.contains(&format!("{s}::"))) {
                trespasses.push(format!("{}:{number}: {owner} uses {stranger}", file.path));
            }
        }
    }
    hold("arrows point down: web-app → core ← native-node, tests → both", &trespasses);
}

#[test]
fn the_core_depends_on_bytes_and_crc32c_and_on_serde_if_asked() {
    let text = fs::read_to_string(files::root().join("core/Cargo.toml")).expect("the core has a Cargo.toml");
    let section = text.split("\n[dependencies]\n").nth(1).expect("it has dependencies");
    let lines = section.lines().take_while(|line| !line.starts_with('['));
    let names: Vec<_> = lines.filter_map(|line| line.split(['=', '.']).next()).map(str::trim).collect();
    let names: Vec<_> = names.into_iter().filter(|name| !name.is_empty() && !name.starts_with('#')).collect();
    assert_eq!(names, ["bytes", "crc32c", "serde"]);
    assert!(section.lines().any(|line| line.starts_with("serde") && line.contains("optional = true")));

    let may =
        |path: &str| path == "core/src/view.rs" || path.starts_with("core/src/view/") || path.contains("sim/scenario");
    let mut trespasses = Vec::new();
    for file in files::rust().iter().filter(|file| room_of(file).is_some() && !may(&file.path)) {
        for (number, _) in file.code().filter(|(_, line)| line.contains("serde")) {
            trespasses.push(format!("{}:{number}", file.path));
        }
    }
    hold("only `view` and `sim::scenario` know serde", &trespasses);
}

#[test]
fn every_file_opens_by_saying_what_it_is_for() {
    let files = files::rust();
    let silent = files.iter().filter(|file| !file.text.starts_with("//! ")).map(|file| file.path.clone());
    hold("every .rs file opens with `//!`", &silent.collect::<Vec<_>>());
}

#[test]
fn no_file_is_too_long_to_read() {
    let mut trespasses = Vec::new();
    for file in files::rust() {
        let lines = file.text.lines().count();
        if lines > LINES_ALLOWED {
            trespasses.push(format!("{}: {lines} lines", file.path));
        } else if lines > LINES_WISHED {
            println!("longer than {LINES_WISHED} lines: {}: {lines}", file.path);
        }
    }
    hold(&format!("no file has more than {LINES_ALLOWED} lines: split it by thought"), &trespasses);
}

#[test]
fn nobody_writes_the_banned_words() {
    // Put together here, so that this file does not trespass itself.
    let everywhere = [["todo", "!("], ["unimplemented", "!("], ["dbg", "!("]].map(|word| word.concat());
    let in_the_core = [
        "HashMap",
        "HashSet",
        "std::fs",
        "std::net",
        "std::thread",
        "std::time",
        "std::process",
        "println!",
        "async fn",
    ];
    let mut trespasses = Vec::new();
    for file in files::rust() {
        for (number, line) in file.code() {
            let own = everywhere.iter().map(String::as_str);
            let core = in_the_core.into_iter().filter(|_| file.path.starts_with("core/src/"));
            for word in own.chain(core).filter(|word| line.contains(word)) {
                trespasses.push(format!("{}:{number}: {word}", file.path));
            }
        }
    }
    hold("words that have no place in the house", &trespasses);
}

#[test]
fn no_source_file_is_dead() {
    let sources = files::rust();
    let sources: BTreeMap<&str, &File> = sources.iter().map(|file| (file.path.as_str(), file)).collect();
    let mut reached = BTreeSet::new();
    let mut next: Vec<String> = roots(&sources);
    while let Some(path) = next.pop() {
        let Some(file) = sources.get(path.as_str()) else { continue };
        if reached.insert(path.clone()) {
            next.extend(children(file, &path));
        }
    }
    let dead = sources.keys().filter(|path| !reached.contains(**path)).map(|path| (*path).to_owned());
    hold("no `mod` or target leads to these files", &dead.collect::<Vec<_>>());
}

/// The files that Cargo itself names: libraries, binaries, and the targets with a `path`.
fn roots(sources: &BTreeMap<&str, &File>) -> Vec<String> {
    let mut roots = Vec::new();
    for manifest in files::all().iter().filter(|file| file.path.ends_with("Cargo.toml")) {
        let folder = manifest.path.trim_end_matches("Cargo.toml");
        roots.extend(["src/lib.rs", "src/main.rs", "build.rs"].map(|name| format!("{folder}{name}")));
        for line in manifest.text.lines().filter(|line| line.starts_with("path = ") && line.ends_with(".rs\"")) {
            roots.push(format!("{folder}{}", line.trim_start_matches("path = ").trim_matches('"')));
        }
        // What Cargo finds by itself, unless told not to.
        let alone = |path: &&&str| {
            let inside = path.strip_prefix(folder).unwrap_or_default();
            let by_itself = ["tests/", "benches/", "examples/"].iter().find_map(|place| inside.strip_prefix(place));
            by_itself.is_some_and(|name| !name.contains('/')) && !folder.is_empty()
        };
        if !manifest.text.contains("autotests = false") {
            roots.extend(sources.keys().filter(alone).map(|path| (*path).to_owned()));
        }
    }
    roots
}

/// Where the modules that a file declares may lie.
fn children(file: &File, path: &str) -> Vec<String> {
    let (folder, name) = path.rsplit_once('/').expect("every source lies in a folder");
    let stem = name.trim_end_matches(".rs");
    let is_target = |path: &str| ["main.rs", "lib.rs", "mod.rs"].iter().any(|own| path.ends_with(own));
    // A target such as `src/bin/sim.rs` looks beside itself, any other file in the folder of its own name.
    let beside =
        if is_target(name) { vec![folder.to_owned()] } else { vec![format!("{folder}/{stem}"), folder.to_owned()] };
    let mut found = Vec::new();
    let mut given: Option<&str> = None;
    for (_, line) in file.code() {
        let line = line.trim();
        if let Some(path) = line.strip_prefix("#[path = \"").and_then(|rest| rest.strip_suffix("\"]")) {
            given = Some(path);
            continue;
        }
        let declared = ["mod ", "pub mod ", "pub(crate) mod ", "pub(super) mod "]
            .iter()
            .find_map(|start| line.strip_prefix(start))
            .and_then(|rest| rest.strip_suffix(';'));
        if let Some(module) = declared {
            match given.take() {
                Some(path) => found.push(format!("{folder}/{path}")),
                None => {
                    for place in &beside {
                        found.extend([format!("{place}/{module}.rs"), format!("{place}/{module}/mod.rs")]);
                    }
                }
            }
        } else if !line.starts_with("#[") {
            given = None;
        }
    }
    found
}

#[test]
fn no_file_names_somebodys_machine() {
    // Put together here, so that this file does not trespass itself.
    let banned = [["/wo", "rk/"], ["/ro", "ot/"], ["/ho", "me/"], ["index.cra", "tes.io"], ["static.cra", "tes.io"]];
    let banned = banned.map(|word| word.concat());
    let mut trespasses = Vec::new();
    for file in files::all() {
        for (at, line) in file.text.lines().enumerate() {
            for word in banned.iter().filter(|word| line.contains(word.as_str())) {
                trespasses.push(format!("{}:{}: {word}", file.path, at + 1));
            }
            // A mirror that one machine was told to use.
            if file.path.ends_with("Cargo.lock")
                && line.starts_with("source = ")
                && line != "source = \"registry+https://github.com/rust-lang/crates.io-index\""
            {
                trespasses.push(format!("{}:{}: {line}", file.path, at + 1));
            }
        }
    }
    hold("paths and hosts of one machine", &trespasses);
}

#[test]
fn every_test_asserts_something() {
    let sources = files::rust();
    let functions: Vec<_> = sources
        .iter()
        .flat_map(|file| files::functions(&file.text).into_iter().map(move |function| (&file.path, function)))
        .collect();
    let asserts =
        |body: &str| ["assert", "panic!", "unwrap_err", "expect_err", "hold("].iter().any(|w| body.contains(w));
    let mut checking: BTreeSet<&str> =
        functions.iter().filter(|(_, (_, body, _))| asserts(body)).map(|(_, (name, _, _))| *name).collect();
    let calls = |body: &str, checking: &BTreeSet<&str>| {
        let mut words = body.split(|c: char| !c.is_alphanumeric() && c != '_');
        words.any(|word| checking.contains(word))
    };
    // A helper that calls a helper that asserts, two deep.
    for _ in 0..2 {
        let more: Vec<_> = functions.iter().filter(|(_, (_, body, test))| !test && calls(body, &checking)).collect();
        let more: Vec<&str> = more.into_iter().map(|(_, (name, _, _))| *name).collect();
        checking.extend(more);
    }
    let idle = functions.iter().filter(|(_, (_, body, test))| *test && !asserts(body) && !calls(body, &checking));
    hold("tests that assert nothing", &idle.map(|(path, (name, _, _))| format!("{path}: {name}")).collect::<Vec<_>>());
}
