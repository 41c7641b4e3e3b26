//! The file of a snapshot of a group: `docs/formats/group.md`.

use crate::API;
use omni_base::Digest;
use serde::{Deserialize, Serialize};

/// Machines of a group.
const MEMBERS_MAX: usize = 256;

/// Digits of the id of a machine.
const ID_DIGITS_MAX: usize = 64;

/// Digits of the name of a cut, and of the id of a snapshot.
const CUT_DIGITS: usize = 32;
const SNAPSHOT_DIGITS: usize = 64;

/// A snapshot of all machines on a switch.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GroupFile {
    /// The form of this file.
    pub api: String,
    /// The switch.
    pub group: String,
    /// The tag, which the snapshot of each machine has too.
    pub tag: String,
    /// The name of the cut, which every part of it has too.
    pub cut: String,
    /// When it was taken, RFC 3339.
    pub time: String,
    /// The machines.
    pub members: Vec<GroupMember>,
}

/// A machine of a group.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GroupMember {
    /// Its id.
    pub id: String,
    /// Its name at that time.
    pub name: String,
    /// The id of its snapshot; none while that is under way.
    pub snapshot: Option<String>,
}

impl GroupFile {
    /// The bytes: a line of JSON, and a line with its digest.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let text = serde_json::to_string(self).expect("plain data");
        format!("{text}\n{}\n", Digest::of(text.as_bytes())).into_bytes()
    }

    /// The file of this group and tag in these bytes, which anybody may have written.
    ///
    /// # Errors
    /// Why they are not it.
    pub fn parse(bytes: &[u8], group: &str, tag: &str) -> Result<Self, String> {
        let text = std::str::from_utf8(bytes).map_err(|_| "it is no text")?;
        let lines = text.strip_suffix('\n').and_then(|text| text.split_once('\n'));
        let (line, digest) = lines.ok_or("it is cut short")?;
        if Digest::of(line.as_bytes()).to_string() != digest {
            return Err("it is not what was written".into());
        }
        let file: Self = serde_json::from_str(line).map_err(|error| error.to_string())?;
        if file.api != API {
            return Err(format!(
                "it is of the form '{}', which this build does not know",
                file.api
            ));
        }
        if file.group != group || file.tag != tag {
            return Err(format!("it is that of '{}@{}'", file.group, file.tag));
        }
        let mut ids: Vec<&str> = file.members.iter().map(|member| &*member.id).collect();
        ids.sort_unstable();
        ids.dedup();
        let count = file.members.len();
        if count == 0 || count > MEMBERS_MAX || ids.len() != count {
            return Err("it has no sound list of machines".into());
        }
        let sound = file.members.iter().all(GroupMember::is_sound);
        if !sound || !is_hex(&file.cut, CUT_DIGITS) {
            return Err("it has names that are none".into());
        }
        Ok(file)
    }
}

impl GroupMember {
    fn is_sound(&self) -> bool {
        let digits = self.id.len();
        let id = (1..=ID_DIGITS_MAX).contains(&digits) && is_hex(&self.id, digits);
        id && self.snapshot.as_ref().is_none_or(|snapshot| is_hex(snapshot, SNAPSHOT_DIGITS))
    }
}

fn is_hex(text: &str, digits: usize) -> bool {
    text.len() == digits && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file() -> GroupFile {
        let member = |id: &str| GroupMember {
            id: id.into(),
            name: format!("m-{id}"),
            snapshot: Some("0f".repeat(32)),
        };
        GroupFile {
            api: API.into(),
            group: "lab".into(),
            tag: "g1".into(),
            cut: "ab".repeat(16),
            time: "2026-11-21T19:00:00.000Z".into(),
            members: vec![member("0a"), member("0b")],
        }
    }

    #[test]
    fn a_file_comes_back_and_every_flipped_bit_of_it_is_noticed() {
        let bytes = file().to_bytes();
        assert_eq!(GroupFile::parse(&bytes, "lab", "g1"), Ok(file()));
        for at in 0..bytes.len() * 8 {
            let mut damaged = bytes.clone();
            damaged[at / 8] ^= 1 << (at % 8);
            assert!(GroupFile::parse(&damaged, "lab", "g1").is_err(), "bit {at}");
        }
        for end in 0..bytes.len() {
            assert!(GroupFile::parse(&bytes[..end], "lab", "g1").is_err(), "{end}");
        }
    }

    #[test]
    fn a_hostile_file_is_refused_whatever_its_digest() {
        let refused = |change: fn(&mut GroupFile), why: &str| {
            let mut file = file();
            change(&mut file);
            let said = GroupFile::parse(&file.to_bytes(), "lab", "g1").expect_err("hostile");
            assert!(said.contains(why), "{said}");
        };
        refused(|file| file.api = "omni/v9".into(), "omni/v9");
        refused(|file| file.group = "other".into(), "other@g1");
        refused(|file| file.tag = "../up".into(), "lab@../up");
        refused(|file| file.members.clear(), "list of machines");
        refused(|file| file.members[1].id = "0a".into(), "list of machines");
        refused(|file| file.members = vec![file.members[0].clone(); 300], "list of machines");
        refused(|file| file.members[0].id = "../..".into(), "names");
        refused(|file| file.members[0].id = String::new(), "names");
        refused(|file| file.members[0].snapshot = Some("0f".into()), "names");
        refused(|file| file.cut = "zz".repeat(16), "names");
        let line = r#"{"api":"omni/v1","more":1}"#;
        let text = format!("{line}\n{}\n", Digest::of(line.as_bytes()));
        assert!(GroupFile::parse(text.as_bytes(), "lab", "g1").is_err());
    }
}
