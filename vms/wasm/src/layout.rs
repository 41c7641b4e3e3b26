//! Where in the store the things of one instance are: what code is compiled for.

use crate::types::{Composite, Signature, Types, Value};

/// A memory as code sees it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct MemoryAt {
    pub(crate) number: u32,
    pub(crate) is64: bool,
}

/// A table as code sees it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TableAt {
    pub(crate) number: u32,
    pub(crate) is64: bool,
}

/// A global: the first of its slots.
#[derive(Clone, Copy, Debug)]
pub(crate) struct GlobalAt {
    pub(crate) slot: u32,
    pub(crate) ty: Value,
    pub(crate) mutable: bool,
}

/// The numbers in the store of all that a module can name.
#[derive(Clone, Debug, Default)]
pub(crate) struct Numbers {
    pub(crate) types: Vec<u32>,
    pub(crate) funcs: Vec<u32>,
    pub(crate) tables: Vec<TableAt>,
    pub(crate) memories: Vec<MemoryAt>,
    pub(crate) globals: Vec<GlobalAt>,
    pub(crate) tags: Vec<u32>,
    /// The number of its first segment of elements, and of data.
    pub(crate) elements: u32,
    pub(crate) data: u32,
}

/// The same with what the types are.
pub(crate) struct Layout<'a> {
    pub(crate) numbers: &'a Numbers,
    pub(crate) all: &'a Types,
    pub(crate) types: &'a [u32],
    /// The type of each tag of the store.
    pub(crate) tags: &'a [u32],
    /// The type of each function of the store.
    pub(crate) funcs: &'a dyn Fn(u32) -> u32,
}

impl<'a> Layout<'a> {
    /// The signature of a type of the module.
    pub(crate) fn signature(&self, index: u32) -> &'a Signature {
        self.all.signature(self.types[index as usize]).expect("the module is valid")
    }

    /// What a type of the module is.
    pub(crate) fn composite(&self, index: u32) -> &'a Composite {
        let defined = self.all.get(self.types[index as usize]);
        &defined.expect("the module is valid").composite
    }

    /// The signature of a tag of the store.
    pub(crate) fn tag(&self, number: u32) -> &'a Signature {
        let ty = self.tags[number as usize];
        self.all.signature(ty).expect("tags have the type of functions")
    }

    /// The signature of a function of the module, and its number.
    pub(crate) fn function(&self, index: u32) -> (u32, &'a Signature) {
        let number = self.numbers.funcs[index as usize];
        let signature = self.all.signature((self.funcs)(number));
        (number, signature.expect("functions have the type of functions"))
    }
}
