//! What can stand behind a key.

use super::Keys;

/// The form of a value. Every scalar may hold `${NAME}` instead.
#[derive(Debug)]
pub(in crate::config) enum Form {
    /// Any text; numbers and words keep their characters.
    Text,
    /// `true` or `false`.
    Flag,
    /// A whole number from the first to the second.
    Number(u32, u32),
    /// A whole number from 1, or one of these words.
    NumberOr(&'static [&'static str]),
    /// A whole number, or one of these words.
    CountOr(&'static [&'static str]),
    /// A duration above zero.
    Period,
    /// A duration above zero, or `none`.
    Timeout,
    /// A duration that may be zero.
    Delay,
    /// A duration that may be zero, or `none`.
    DelayOrNone,
    /// A size above zero, or `none`.
    Size,
    /// A size from the first to the second, as the language writes them.
    SizeWithin(&'static str, &'static str),
    /// Bytes per second above zero, or `none`.
    ByteRate,
    /// A percentage.
    Share,
    /// A percentage in whole numbers, from the first to the second.
    Percent(u32, u32),
    /// A percentage, or `none`.
    ShareOrNone,
    /// One of these words.
    Words(&'static [&'static str]),
    /// Nothing behind the key.
    Empty,
    /// A map with these keys.
    Map(&'static Keys),
    /// A map whose keys are names that the user gives; it may be empty.
    Named(&'static Self),
    /// A list.
    List(&'static Self),
    /// One, or a list of at least one.
    OneOrMore(&'static Self),
    /// One, or a list that may be empty.
    Some(&'static Self),
    /// Any of these.
    AnyOf(&'static [Self]),
}

impl Form {
    /// Calls `each` for every map in it.
    pub(super) fn maps(&self, each: &mut impl FnMut(&'static Keys)) {
        match self {
            Self::Map(keys) => each(keys),
            Self::Named(form) | Self::List(form) | Self::OneOrMore(form) | Self::Some(form) => {
                form.maps(each);
            }
            Self::AnyOf(forms) => forms.iter().for_each(|form| form.maps(each)),
            _ => {}
        }
    }
}
