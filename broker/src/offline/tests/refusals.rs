//! What is neither checked nor salvaged, and what a report looks like.

use super::*;

#[test]
fn salvage_refuses_a_directory_that_is_in_the_way() {
    let closed = busy();
    let data = closed.path("data");
    let into = |name: &str| {
        run(&Task::Salvage {
            data: data.clone(),
            into: closed.path(name),
            json: false,
        })
    };
    fs::create_dir(closed.path("full")).unwrap();
    fs::write(closed.path("full").join("file"), "x").unwrap();
    fs::create_dir(closed.path("half.unfinished")).unwrap();
    for name in ["full", "half", "data/new", "data"] {
        assert_eq!(into(name).verdict, Verdict::Usage, "{name}");
    }
    fs::create_dir(closed.path("empty")).unwrap();
    assert_eq!(into("empty").verdict, Verdict::Sound);
    assert!(!closed.path("data/new").exists());
}

#[test]
fn what_is_no_data_directory_is_not_made_into_one() {
    let root = tempfile::TempDir::new().unwrap();
    for name in ["absent", "empty"] {
        let data = root.path().join(name);
        if name == "empty" {
            fs::create_dir(&data).unwrap();
        }
        let outcome = run(&Task::Check {
            data: data.clone(),
            json: true,
        });
        assert_eq!(outcome.verdict, Verdict::Unsound);
        assert!(!outcome.is_report);
        let task = Task::Salvage {
            data: data.clone(),
            into: root.path().join("new"),
            json: false,
        };
        assert_eq!(run(&task).verdict, Verdict::Unsound);
    }
    assert!(!root.path().join("absent").exists());
    assert_eq!(fs::read_dir(root.path().join("empty")).unwrap().count(), 0);
}

#[test]
fn a_directory_in_use_is_neither_checked_nor_salvaged() {
    let closed = busy();
    let held = open(&closed.path("data")).unwrap();
    let _lock = held.lock().unwrap();
    let outcome = run(&Task::Check {
        data: closed.path("data"),
        json: false,
    });
    assert_eq!(outcome.verdict, Verdict::Unsound);
    assert!(outcome.text.contains("in use"), "{}", outcome.text);
    let salvage = salvage_small(&closed.path("data"), &closed.path("new"));
    assert!(matches!(salvage, Err(Failure::Journal(Error::Locked))));
    assert!(!closed.path("new.unfinished").exists());
}

#[test]
fn a_report_is_json_where_that_is_asked_for() {
    let closed = busy();
    let outcome = run(&Task::Check {
        data: closed.path("data"),
        json: true,
    });
    let report: serde_json::Value = serde_json::from_str(&outcome.text).unwrap();
    assert_eq!(report["sound"], true);
    assert_eq!(report["queues"][0]["name"], "queue-1");
    assert_eq!(report["queues"][0]["lost_items"], serde_json::json!([]));
}
