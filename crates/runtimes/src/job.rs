//! A job for an interpreter that waits, and the bytes by which it is told of it.

use crate::RuntimeError;

/// Bytes of a job, all in all: what a program is told in one piece.
pub(crate) const JOB_BYTES_MAX: usize = 1 << 20;

/// How a command line is run.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Way {
    /// By an interpreter that has started already.
    Warm(Job),
    /// By an interpreter that starts with these flags, and then takes the job.
    Flagged(Vec<String>, Job),
    /// By the interpreter itself: with these words behind its name, and with a file that it may
    /// read.
    Plain(Vec<String>, Option<String>),
}

/// What an interpreter is to run.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Job {
    /// What `text` is: `c` code of the command line, `m` the name of a module, `f` the content of
    /// a file, `s` nothing, as the code is read from standard input.
    pub(crate) kind: char,
    /// The path of the file.
    pub(crate) name: String,
    /// The text.
    pub(crate) text: Vec<u8>,
    /// The arguments, from the first word on that is the script's own.
    pub(crate) arguments: Vec<String>,
}

impl Job {
    /// The job as the interpreter reads it: the number of bytes in ten digits and a line feed, then
    /// the fields, each with its length, a colon, its bytes and a comma. They are the kind, the
    /// name, the text, the number of arguments, the arguments, and `NAME=VALUE` of the environment.
    ///
    /// # Errors
    /// Where it is too large.
    pub fn bytes(&self, environment: &[(String, String)]) -> Result<Vec<u8>, RuntimeError> {
        let mut fields = Vec::new();
        let mut put = |bytes: &[u8]| {
            fields.extend(format!("{}:", bytes.len()).into_bytes());
            fields.extend(bytes);
            fields.push(b',');
        };
        put(self.kind.to_string().as_bytes());
        put(self.name.as_bytes());
        put(&self.text);
        put(self.arguments.len().to_string().as_bytes());
        self.arguments.iter().for_each(|argument| put(argument.as_bytes()));
        environment.iter().for_each(|(name, value)| put(format!("{name}={value}").as_bytes()));
        let mut bytes = format!("{:010}\n", fields.len()).into_bytes();
        bytes.extend(fields);
        if bytes.len() > JOB_BYTES_MAX {
            return Err(RuntimeError::TooLarge(bytes.len(), JOB_BYTES_MAX));
        }
        Ok(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_is_told_with_the_length_of_each_of_its_parts() {
        let job = Job {
            kind: 'f',
            name: "x.py".into(),
            text: b"print(1)\n".to_vec(),
            arguments: vec!["a,b".into()],
        };
        let bytes = job.bytes(&[("K".into(), "v".into())]).expect("small");
        let text = "0000000039\n1:f,4:x.py,9:print(1)\n,1:1,3:a,b,3:K=v,";
        assert_eq!(String::from_utf8(bytes).expect("text"), text);
        let large = Job { text: vec![b'#'; JOB_BYTES_MAX], ..job };
        assert!(matches!(large.bytes(&[]), Err(RuntimeError::TooLarge(..))));
    }
}
