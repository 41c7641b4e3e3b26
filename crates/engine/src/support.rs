//! What this host offers to machine code, for people who ask.

/// Whether code of guests becomes machine code on this host, and how.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct HostSupport {
    /// Whether there is a tier for the host's architecture.
    pub tier: bool,
    /// Instructions that the tier cannot do without, and whether the host has them.
    pub needed: Vec<(&'static str, bool)>,
    /// Instructions that make code faster.
    pub useful: Vec<(&'static str, bool)>,
    /// By which call of the host memory is mapped twice, to be written and to be run; or why it
    /// cannot be.
    pub memory: Result<&'static str, String>,
}

impl HostSupport {
    /// Looks and tries.
    #[cfg(target_arch = "x86_64")]
    #[must_use]
    pub fn here() -> Self {
        let memory = match crate::arena::Arena::by(&crate::arena::Way::ALL, &[]) {
            Ok((_, way)) => Ok(way.name()),
            Err(error) => Err(error.to_string()),
        };
        Self {
            tier: true,
            needed: vec![("popcnt", std::is_x86_feature_detected!("popcnt"))],
            useful: vec![("fma", std::is_x86_feature_detected!("fma"))],
            memory,
        }
    }

    /// There is nothing to look for.
    #[cfg(not(target_arch = "x86_64"))]
    #[must_use]
    pub fn here() -> Self {
        let memory = Err("nothing is made of it on this architecture".into());
        Self { tier: false, needed: vec![], useful: vec![], memory }
    }

    /// Whether guests get machine code.
    #[must_use]
    pub fn is_enough(&self) -> bool {
        self.tier && self.memory.is_ok() && self.needed.iter().all(|(_, has)| *has)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_is_what_engines_do() {
        assert_eq!(HostSupport::here().is_enough(), crate::Tiers::can_compile());
    }
}
