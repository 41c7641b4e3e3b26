//! Transcripts are those of `dfrotz`, line for line.

#![allow(clippy::print_stdout, reason = "a test that is skipped says so")]

mod driver;

use driver::{Driver, spec_of, story_path};
use omni_machine::{Effect, IoOp};
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

const SEED: &str = "4711";

/// A walk through the first game: all that is common, some that fails, a fight, the end.
const WALK: &str = "open mailbox|read leaflet|drop leaflet|score|south|east|open window|\
enter house|\
look|examine bottle|open sack|take garlic|eat lunch|west|take lamp|take sword|examine case|\
move rug|open trap door|turn on lamp|inventory|verbose|down|look|north|kill troll with sword|\
kill troll with sword|again|hit troll with sword|kill troll with sword|kill troll with sword|\
kill troll with sword|kill troll with sword|diagnose|west|east|east|take sword|look|\
south|up|wait|z|xyzzy|jump|sing|pray|look at me|say hello|take all|drop all|take all|\
north|east|west|look|inventory|brief|superbrief|score|take the blue and red ball, then go|\
\"hello|take lamp. look. east|oops lamp|version|quit|no|diagnose|quit|y";

/// What the random walks are made of.
const STEPS: &str = "north|south|east|west|up|down|look|take all|drop all|open window|g|enter|nw|\
enter house|move rug|open trap door|turn on lamp|kill troll with sword|score|wait|open mailbox|\
read leaflet|climb tree|take egg|open egg|diagnose|verbose|superbrief|again|get sword and lamp|\
drink water|put all in case|say \"hello sailor\"|examine lamp|turn off lamp|attack me|dig|,.,|\
take leaflet then read it|throw sword at troll|n|help|it|asdkjh|take the the lamp|inventory";

fn dfrotz(story: &Path, walk: &[&str], options: &[&str]) -> Option<String> {
    // Looked for by hand: under an emulator a start that fails is not told of.
    let path = std::env::var_os("PATH").unwrap_or_default();
    let places = std::env::split_paths(&path).chain(["/usr/games".into()]);
    let Some(bin) = places.map(|place| place.join("dfrotz")).find(|bin| bin.is_file()) else {
        println!("skipped: dfrotz is not installed (package frotz)");
        return None;
    };
    let mut command = Command::new(bin);
    command.args(["-m", "-p", "-w", "80", "-s", SEED]).args(options).arg(story);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn().expect("dfrotz starts");
    let mut input = child.stdin.take().expect("piped");
    let script = walk.iter().map(|line| format!("{line}\n")).collect::<String>();
    // A story may end before its input does.
    let _ = input.write_all(script.as_bytes());
    drop(input);
    let mut output = Vec::new();
    let mut stdout = child.stdout.take().expect("piped");
    std::io::Read::read_to_end(&mut stdout, &mut output).expect("dfrotz prints");
    child.wait().expect("dfrotz ends");
    let text = String::from_utf8(output).expect("plain text");
    // Two lines of its own come first.
    let own = |line: &&str| line.starts_with("Using ") || line.starts_with("Loading ");
    let skip: usize = text.split_inclusive('\n').take_while(own).map(str::len).sum();
    Some(text[skip..].to_owned())
}

fn check(expected: &str, got: &str) {
    for (n, (expected, got)) in expected.lines().zip(got.lines()).enumerate() {
        assert_eq!(expected, got, "line {}", n + 1);
    }
    assert_eq!(expected.lines().count(), got.lines().count());
}

fn walk_story(name: &str, walk: &[&str], options: &[(&str, &str)], renew: bool) -> Option<String> {
    let path = story_path(name)?;
    let story = std::fs::read(&path).expect("it is there");
    let mut spec = spec_of(&story, options);
    spec.seed = SEED.parse().expect("a number");
    let mut driver = Driver::new(&spec);
    driver.settle();
    for line in walk {
        if renew {
            driver.renew();
        }
        driver.line(line);
    }
    Some(driver.text())
}

#[test]
fn a_walk_through_zork_prints_what_dfrotz_prints() {
    let walk: Vec<&str> = WALK.split('|').collect();
    assert!(walk.len() >= 60);
    let Some(path) = story_path("zork1.z3") else { return };
    let Some(expected) = dfrotz(&path, &walk, &[]) else { return };
    for renew in [false, true] {
        let got = walk_story("zork1.z3", &walk, &[], renew).expect("it is there");
        check(&expected, &got);
    }
}

#[test]
fn a_narrow_screen_prints_what_dfrotz_prints() {
    let walk: Vec<&str> = WALK.split('|').collect();
    let Some(path) = story_path("zork1.z3") else { return };
    let Some(expected) = dfrotz(&path, &walk, &["-w", "40", "-h", "12"]) else { return };
    let options = [("width", "40"), ("height", "12")];
    let got = walk_story("zork1.z3", &walk, &options, false).expect("it is there");
    check(&expected, &got);
}

#[test]
fn czech_prints_what_dfrotz_prints_up_to_what_names_the_interpreter() {
    let Some(path) = story_path("czech.z5") else { return };
    let Some(expected) = dfrotz(&path, &[], &[]) else { return };
    let got = walk_story("czech.z5", &[], &[], false).expect("it is there");
    let until = |text: &str| text.split("Header").next().unwrap_or("").to_owned();
    check(&until(&expected), &until(&got));
}

#[test]
fn a_game_is_saved_and_restored_through_requests_that_survive_a_snapshot() {
    let Some(path) = story_path("zork1.z3") else { return };
    let story = std::fs::read(path).expect("it is there");
    let mut driver = Driver::new(&spec_of(&story, &[("screen", "stream")]));
    driver.settle();
    driver.line("open mailbox");
    driver.line("save");
    driver.line("../my game");
    let request = driver.request().expect("a request is in flight");
    let IoOp::SaveFile { name, bytes } = request.op.clone() else { panic!("not a save") };
    assert_eq!(name, "mygame");
    driver.renew();
    assert_eq!(driver.machine.pending(), [Effect::Io(request.clone())]);
    driver.done(request.id, Ok(vec![]));
    assert!(driver.machine.pending().is_empty());
    driver.line("take leaflet");
    driver.line("restore");
    driver.line("my game");
    let request = driver.request().expect("a request is in flight");
    assert_eq!(request.op, IoOp::LoadFile { name: "mygame".into() });
    driver.done(request.id, Ok(bytes));
    let before = driver.text().len();
    driver.line("inventory");
    assert!(driver.text()[before..].contains("You are empty-handed."), "{}", driver.text());
    driver.line("restore");
    driver.line("");
    let request = driver.request().expect("a request is in flight");
    assert_eq!(request.op, IoOp::LoadFile { name: "119-880429.qzl".into() });
    driver.done(request.id, Err(2));
    assert!(driver.text().ends_with("Failed.\n\n>"), "{}", driver.text());
}

#[test]
fn random_walks_on_screens_of_any_size_print_what_dfrotz_prints() {
    let Some(path) = story_path("zork1.z3") else { return };
    let steps: Vec<&str> = STEPS.split('|').collect();
    let mut state = 0x9e37_79b9_7f4a_7c15u64;
    for (width, height) in [("80", "24"), ("60", "10"), ("30", "40"), ("132", "50"), ("40", "15")] {
        let mut walk = vec!["s", "e", "open window", "enter", "w", "take sword", "move rug"];
        for _ in 0..200 {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            let step = usize::try_from(state >> 20).expect("64 bits") % steps.len();
            walk.push(steps[step]);
        }
        // Without its warnings, which are not the story's words.
        let options = ["-w", width, "-h", height, "-Z", "0"];
        let Some(expected) = dfrotz(&path, &walk, &options) else { return };
        let options = [("width", width), ("height", height)];
        let got = walk_story("zork1.z3", &walk, &options, false).expect("it is there");
        check(&expected, &got);
    }
}
