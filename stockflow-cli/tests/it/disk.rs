//! A full disk and a read-only folder, as a user without privileges meets them.

use std::process::Command;

use crate::place::{Place, Said, leave_out};

/// What `scripts/with-tiny-disk` gives.
struct Unprivileged {
    as_user: String,
    binary: String,
    disk: std::path::PathBuf,
}

impl Unprivileged {
    fn get(test: &str) -> Option<Self> {
        let get = |name: &str| std::env::var(name).ok();
        let found = (|| {
            Some(Self {
                as_user: get("STOCKFLOW_AS_USER")?,
                binary: get("STOCKFLOW_TEST_BIN")?,
                disk: get("STOCKFLOW_TINY_DISK")?.into(),
            })
        })();
        if found.is_none() {
            leave_out(test, "needs `scripts/with-tiny-disk`");
        }
        found
    }

    fn run(&self, args: &[&str]) -> Said {
        Said::from(
            Command::new(&self.as_user)
                .arg(&self.binary)
                .args(args)
                .current_dir(&self.disk)
                .env_remove("STOCKFLOW_DATA_DIR")
                .output()
                .unwrap(),
        )
    }
}

/// Bars where the user can read them; a folder for each test, because they run side by side.
fn input(disk: &std::path::Path, test: &str) -> String {
    let folder = disk.parent().unwrap().join(format!("input-{test}-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let bars = Place::with_bars();
    for file in std::fs::read_dir(bars.path("examples/data")).unwrap() {
        let file = file.unwrap();
        std::fs::copy(file.path(), folder.join(file.file_name())).unwrap();
    }
    let _ = Command::new("chmod").args(["-R", "a+rX"]).arg(&folder).status();
    format!("{}/*.csv", folder.display())
}

#[test]
fn a_read_only_folder_is_told_and_nothing_is_left() {
    let Some(user) = Unprivileged::get("a read-only folder") else { return };
    let folder = user.disk.join("read-only-lake");
    std::fs::create_dir(&folder).unwrap();
    let _ = Command::new("chmod").arg("0555").arg(&folder).status();
    let lake = folder.join("lake");
    // The proof that the folder refuses: a plain write by the same user.
    let plain =
        Command::new(&user.as_user).args(["touch", &folder.join("probe").display().to_string()]).output().unwrap();
    assert!(!plain.status.success());
    let said =
        user.run(&["run", "--input", &input(&user.disk, "read-only"), "--data-dir", &lake.display().to_string()]);
    said.code(1).says("ermission denied").says("stockflow doctor");
    assert!(!lake.exists());
    let said =
        user.run(&["doctor", "--input", &input(&user.disk, "read-only"), "--data-dir", &lake.display().to_string()]);
    said.code(1).prints("FAILED").prints("not writable");
    std::fs::remove_dir(&folder).unwrap();
}

#[test]
fn a_full_disk_is_told_and_no_half_epoch_is_visible() {
    let Some(user) = Unprivileged::get("a full disk") else { return };
    let lake = user.disk.join("lake");
    let lake_text = lake.display().to_string();
    let fill = user.disk.join("fill");
    let fill_up = |leave: u64| {
        // As much as fits, then a little is given back.
        let _ = Command::new(&user.as_user)
            .args(["dd", "if=/dev/zero", "bs=4096", &format!("of={}", fill.display())])
            .output();
        let size = fill.metadata().unwrap().len();
        assert!(
            Command::new(&user.as_user)
                .args(["truncate", "-s", &size.saturating_sub(leave).to_string(), &fill.display().to_string()])
                .status()
                .unwrap()
                .success()
        );
    };
    let input = input(&user.disk, "full");
    for leave in [0, 16 * 1024, 256 * 1024] {
        fill_up(leave);
        let said = user.run(&["run", "--input", &input, "--data-dir", &lake_text]);
        let said = said.code(1);
        assert!(said.stderr.to_lowercase().contains("no space left"), "{}", said.stderr);
        std::fs::remove_file(&fill).unwrap();
        let visible = user.run(&["sql", "SELECT count(*) AS n FROM bars", "--format", "csv", "--data-dir", &lake_text]);
        assert!(visible.code == Some(2) || visible.stdout == "n\n0\n", "half an epoch is visible: {visible:?}");
    }
    user.run(&["run", "--input", &input, "--data-dir", &lake_text]).ok();
    user.run(&["sql", "SELECT count(*) AS n FROM bars", "--format", "csv", "--data-dir", &lake_text])
        .ok()
        .prints("n\n12154\n");
    std::fs::remove_dir_all(&lake).unwrap();
}
