//! Which OpenPGP keys may sign an archive's release files, and whether one has.

use std::fs;
use std::io::BufReader;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use pgp::composed::{
    CleartextSignedMessage, Deserializable, DetachedSignature, SignedPublicKey, SignedPublicSubKey,
};
use pgp::crypto::hash::HashAlgorithm;
use pgp::packet::{Signature, SignatureType};
use pgp::types::{KeyDetails, Tag, VerifyingKey};

use crate::error::ImageError;

/// Debian's keys as of this program's build; see `keys/README.md` for their fingerprints.
const EMBEDDED: &[u8] = include_bytes!("../keys/debian-archive.gpg");

/// Where Debian's own package keeps the keyring, under its old and its new name.
const HOST: [&str; 2] = [
    "/usr/share/keyrings/debian-archive-keyring.gpg",
    "/usr/share/keyrings/debian-archive-keyring.pgp",
];

/// A keyring is tens of kilobytes.
const KEYRING_BYTES_MAX: u64 = 16 << 20;

/// More signatures than this on one release file are not looked at.
const SIGNATURES_MAX: usize = 64;

/// The keys that are trusted to sign.
#[derive(Debug)]
pub struct Keyring {
    keys: Vec<SignedPublicKey>,
}

impl Keyring {
    /// The keys in a file, binary or armored.
    ///
    /// # Errors
    /// [`ImageError::Keyring`] when it cannot be read or holds no key.
    pub fn from_file(path: &Path) -> Result<Self, ImageError> {
        let bad = |reason: String| ImageError::Keyring { path: path.to_path_buf(), reason };
        let size = fs::metadata(path).map_err(|e| bad(e.to_string()))?.len();
        if size > KEYRING_BYTES_MAX {
            return Err(bad("too large for a keyring".to_owned()));
        }
        let bytes = fs::read(path).map_err(|e| bad(e.to_string()))?;
        Self::from_bytes(&bytes).map_err(bad)
    }

    /// The keys of the host's Debian keyring, if there is one, and those built in.
    ///
    /// Both, because the keyring of a host may be older than the suite that is asked for.
    ///
    /// # Errors
    /// [`ImageError::Keyring`] when the built-in keys cannot be read, which a test rules out.
    pub fn of_host() -> Result<Self, ImageError> {
        let built_in = |reason| ImageError::Keyring { path: PathBuf::from("(built in)"), reason };
        let mut keyring = Self::from_bytes(EMBEDDED).map_err(built_in)?;
        for path in HOST {
            // A host without it, or with a damaged one, is served by the built-in keys.
            if let Ok(host) = Self::from_file(Path::new(path)) {
                keyring.keys.extend(host.keys);
            }
        }
        Ok(keyring)
    }

    /// The keys in these bytes; the error says what is wrong with them.
    pub(crate) fn from_bytes(bytes: &[u8]) -> Result<Self, String> {
        let (keys, _) =
            SignedPublicKey::from_reader_many(BufReader::new(bytes)).map_err(|e| e.to_string())?;
        // A key of a sort that is not understood must not hide the others.
        let keys: Vec<SignedPublicKey> = keys.filter_map(Result::ok).collect();
        if keys.is_empty() {
            return Err("it holds no OpenPGP public key".to_owned());
        }
        Ok(Self { keys })
    }

    /// The text of an inline-signed file, if a trusted key signed it, and that key's fingerprint.
    pub(crate) fn open_inline(
        &self,
        bytes: &[u8],
        now: SystemTime,
    ) -> Result<(String, String), String> {
        let text = std::str::from_utf8(bytes).map_err(|_| "it is not text".to_owned())?;
        let (message, _) = CleartextSignedMessage::from_string(text)
            .map_err(|e| format!("it is not a signed text ({e})"))?;
        let signed = message.signed_text();
        let signer = self.signer(message.signatures(), signed.as_bytes(), now)?;
        Ok((signed, signer))
    }

    /// The fingerprint of the trusted key that made one of these detached signatures of a text.
    pub(crate) fn check_detached(
        &self,
        text: &[u8],
        signatures: &[u8],
        now: SystemTime,
    ) -> Result<String, String> {
        let (found, _) = DetachedSignature::from_reader_many(BufReader::new(signatures))
            .map_err(|e| format!("its signature cannot be read ({e})"))?;
        let found: Vec<Signature> =
            found.take(SIGNATURES_MAX).filter_map(Result::ok).map(|d| d.signature).collect();
        self.signer(&found, text, now)
    }

    /// The first trusted key that made one of the signatures.
    fn signer(
        &self,
        signatures: &[Signature],
        text: &[u8],
        now: SystemTime,
    ) -> Result<String, String> {
        let mut reason = "it was made by none of the known keys".to_owned();
        for signature in signatures.iter().take(SIGNATURES_MAX) {
            for key in &self.keys {
                let Some(made) = made_by(signature, key, text) else { continue };
                match made.and_then(|()| usable(signature, key, now)) {
                    Ok(()) => return Ok(format!("{:X}", key.fingerprint())),
                    Err(why) => reason = format!("key {:X}: {why}", key.fingerprint()),
                }
            }
        }
        Err(reason)
    }
}

/// Whether a signature is claimed for this key or one of its subkeys, and then whether it holds.
fn made_by(
    signature: &Signature,
    key: &SignedPublicKey,
    text: &[u8],
) -> Option<Result<(), String>> {
    if claims(signature, &key.primary_key) {
        return Some(holds(signature, &key.primary_key, text));
    }
    let subkey = key.public_subkeys.iter().find(|subkey| claims(signature, &subkey.key))?;
    Some(holds(signature, &subkey.key, text).and_then(|()| may_sign(subkey, key)))
}

/// Whether the signature says that this key made it.
fn claims(signature: &Signature, key: &impl KeyDetails) -> bool {
    let (id, fingerprint) = (key.legacy_key_id(), key.fingerprint());
    signature.issuer_fingerprint().into_iter().any(|f| *f == fingerprint)
        || signature.issuer_key_id().into_iter().any(|i| *i == id)
}

/// Whether the signature is one of a document, by a hash that still stands, and correct.
fn holds(signature: &Signature, key: &impl VerifyingKey, text: &[u8]) -> Result<(), String> {
    if !matches!(signature.typ(), Some(SignatureType::Binary | SignatureType::Text)) {
        return Err("it is not a signature of a document".to_owned());
    }
    let strong = matches!(
        signature.hash_alg(),
        Some(HashAlgorithm::Sha256 | HashAlgorithm::Sha384 | HashAlgorithm::Sha512)
    );
    if !strong {
        return Err("it rests on a weak hash".to_owned());
    }
    signature.verify(key, text).map_err(|_| "the signature does not fit the text".to_owned())
}

/// Whether the primary key lets this subkey sign.
fn may_sign(subkey: &SignedPublicSubKey, key: &SignedPublicKey) -> Result<(), String> {
    let of_type = |wanted| {
        subkey
            .signatures
            .iter()
            .filter(move |s| s.typ() == Some(wanted))
            .filter(|s| s.verify_subkey_binding(&key.primary_key, &subkey.key).is_ok())
    };
    if of_type(SignatureType::SubkeyRevocation).next().is_some() {
        return Err("its signing subkey is revoked".to_owned());
    }
    let binding = of_type(SignatureType::SubkeyBinding)
        .max_by_key(|s| s.created())
        .ok_or("its signing subkey is not bound to it")?;
    let back = binding.embedded_signature().ok_or("its subkey never agreed to sign for it")?;
    back.verify_primary_key_binding(&subkey.key, &key.primary_key)
        .map_err(|_| "its subkey never agreed to sign for it".to_owned())?;
    if binding.key_flags().sign() { Ok(()) } else { Err("its subkey may not sign".to_owned()) }
}

/// Whether key and signature are in force now: neither revoked, expired, nor of the future.
fn usable(signature: &Signature, key: &SignedPublicKey, now: SystemTime) -> Result<(), String> {
    let primary = &key.primary_key;
    if key.details.revocation_signatures.iter().any(|s| s.verify_key(primary).is_ok()) {
        return Err("the key is revoked".to_owned());
    }
    let self_signature = key
        .details
        .users
        .iter()
        .flat_map(|user| user.signatures.iter().map(move |s| (user, s)))
        .filter(|(_, s)| s.typ() != Some(SignatureType::CertRevocation) && claims(s, primary))
        .filter(|(user, s)| s.verify_certification(primary, Tag::UserId, &user.id).is_ok())
        .map(|(_, s)| s)
        .max_by_key(|s| s.created())
        .ok_or("the key has no valid name")?;
    let since = |start: pgp::types::Timestamp, lasts: Option<pgp::types::Duration>| {
        let lasts = lasts.map(std::time::Duration::from).filter(|d| !d.is_zero());
        lasts.is_some_and(|lasts| SystemTime::from(start) + lasts < now)
    };
    if since(primary.created_at(), self_signature.key_expiration_time()) {
        return Err("the key has expired".to_owned());
    }
    let subkey = key.public_subkeys.iter().find(|subkey| claims(signature, &subkey.key));
    if let Some(subkey) = subkey {
        let binding = subkey
            .signatures
            .iter()
            .filter(|s| s.typ() == Some(SignatureType::SubkeyBinding))
            .max_by_key(|s| s.created());
        if since(subkey.key.created_at(), binding.and_then(Signature::key_expiration_time)) {
            return Err("the signing subkey has expired".to_owned());
        }
    }
    let made = signature.created().ok_or("the signature has no date")?;
    if since(made, signature.signature_expiration_time()) {
        return Err("the signature has expired".to_owned());
    }
    // Clocks of two machines differ; a day is more than they should.
    if SystemTime::from(made) > now + std::time::Duration::from_secs(86_400) {
        return Err("the signature is of the future; check this machine's clock".to_owned());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use pgp::composed::{
        EncryptionCaps, KeyType, SecretKeyParamsBuilder, SignedSecretKey, SubpacketConfig,
    };
    use pgp::packet::{Subpacket, SubpacketData};
    use pgp::ser::Serialize;
    use pgp::types::{Password, Timestamp};

    use super::*;

    #[test]
    fn the_built_in_keys_are_the_six_that_the_readme_lists() {
        let keyring = Keyring::from_bytes(EMBEDDED).unwrap();
        let readme = include_str!("../keys/README.md").replace(' ', "");
        assert_eq!(keyring.keys.len(), 6);
        for key in &keyring.keys {
            let fingerprint = format!("{:X}", key.fingerprint());
            assert!(readme.contains(&fingerprint), "{fingerprint}");
            key.verify_bindings().unwrap();
        }
    }

    #[test]
    fn bytes_without_a_key_are_no_keyring() {
        assert!(Keyring::from_bytes(b"").is_err());
        assert!(Keyring::from_bytes(b"hello").is_err());
        assert!(Keyring::from_bytes(&EMBEDDED[..100]).is_err());
    }

    /// A new key, and a text with a signature by it that lasts for a day.
    fn signed() -> (SignedSecretKey, &'static [u8], Vec<u8>) {
        let mut params = SecretKeyParamsBuilder::default();
        params
            .key_type(KeyType::Ed25519Legacy)
            .can_sign(true)
            .can_encrypt(EncryptionCaps::None)
            .primary_user_id("a <a@example.com>".into());
        let key = params.build().unwrap().generate(rand::thread_rng()).unwrap();
        let day = pgp::types::Duration::try_from(Duration::from_secs(86_400)).unwrap();
        let hashed = [
            SubpacketData::SignatureCreationTime(Timestamp::now()),
            SubpacketData::SignatureExpirationTime(day),
            SubpacketData::IssuerFingerprint(key.fingerprint()),
        ];
        let subpackets = SubpacketConfig::UserDefined {
            hashed: hashed.into_iter().map(|data| Subpacket::regular(data).unwrap()).collect(),
            unhashed: Vec::new(),
        };
        let text = b"Codename: x\n";
        let signature = DetachedSignature::sign_binary_data_with_subpackets(
            rand::thread_rng(),
            &key.primary_key,
            &Password::empty(),
            HashAlgorithm::Sha256,
            &text[..],
            subpackets,
        );
        (key, text, signature.unwrap().to_bytes().unwrap())
    }

    #[test]
    fn a_signature_counts_within_its_time_only() {
        let (key, text, signature) = signed();
        let bytes = SignedPublicKey::from(key).to_bytes().unwrap();
        let keyring = Keyring::from_bytes(&bytes).unwrap();
        let now = SystemTime::now();
        let days = |count: u64| Duration::from_secs(count * 86_400);
        let check = |now| keyring.check_detached(text, &signature, now);
        check(now).unwrap();
        assert!(check(now + days(2)).unwrap_err().contains("expired"));
        assert!(check(now - days(2)).unwrap_err().contains("future"));
        assert!(keyring.check_detached(b"Codename: y\n", &signature, now).is_err());
    }

    #[test]
    fn a_damaged_signature_never_counts() {
        let (key, text, signature) = signed();
        let bytes = SignedPublicKey::from(key.clone()).to_bytes().unwrap();
        let keyring = Keyring::from_bytes(&bytes).unwrap();
        let now = SystemTime::now();
        for at in 0..signature.len() {
            let mut damaged = signature.clone();
            damaged[at] ^= 1;
            // A hint that is no part of what is signed may change; the text may not.
            if keyring.check_detached(text, &damaged, now).is_ok() {
                let other = keyring.check_detached(b"Codename: y\n", &damaged, now);
                assert!(other.is_err(), "byte {at}");
            }
        }
        for length in 0..signature.len() {
            assert!(keyring.check_detached(text, &signature[..length], now).is_err());
        }
    }
}
