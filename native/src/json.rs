//! A strict scanner of the JSON that venues write: ASCII without escapes, shallow, short numbers.
//!
//! Whatever it takes is JSON to every parser, with one meaning. `None` means that it does not take
//! a text: other parsers may.

/// Deeper nesting is not taken.
const MAX_DEPTH: usize = 8;
/// Of a number: more than any price or count of a venue has.
const MAX_NUMBER_CHARS: usize = 40;

/// A place in a text.
pub struct Scanner<'a> {
    text: &'a [u8],
    at: usize,
}

/// A JSON value without others inside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scalar<'a> {
    Null,
    Bool(bool),
    /// As it stands.
    Number(&'a [u8]),
    /// What stands between the quotation marks.
    Text(&'a [u8]),
}

impl<'a> Scanner<'a> {
    /// A scanner of a text; `None` if it is not ASCII or has escapes.
    pub fn new(text: &'a [u8]) -> Option<Self> {
        let is_plain = text.is_ascii() && !text.contains(&b'\\');
        is_plain.then_some(Self { text, at: 0 })
    }

    /// Nothing but blanks follows.
    pub fn end(&mut self) -> Option<()> {
        self.skip_blanks();
        (self.at == self.text.len()).then_some(())
    }

    /// The next byte that is not blank, which stays.
    pub fn peek(&mut self) -> Option<u8> {
        self.skip_blanks();
        self.text.get(self.at).copied()
    }

    /// Call `on_field` at the value of each field of an object; it must read the value.
    pub fn object(
        &mut self,
        mut on_field: impl FnMut(&mut Self, &'a [u8]) -> Option<()>,
    ) -> Option<()> {
        self.expect(b'{')?;
        if self.peek()? == b'}' {
            return self.expect(b'}');
        }
        loop {
            self.skip_blanks();
            let name = self.text()?;
            self.expect(b':')?;
            on_field(self, name)?;
            match self.peek()? {
                b',' => self.at += 1,
                _ => return self.expect(b'}'),
            }
        }
    }

    /// Call `on_item` at each value of a list; it must read the value.
    pub fn list(&mut self, mut on_item: impl FnMut(&mut Self) -> Option<()>) -> Option<()> {
        self.expect(b'[')?;
        if self.peek()? == b']' {
            return self.expect(b']');
        }
        loop {
            on_item(self)?;
            match self.peek()? {
                b',' => self.at += 1,
                _ => return self.expect(b']'),
            }
        }
    }

    /// The values of a list, as `item` reads each.
    pub fn items<T>(&mut self, mut item: impl FnMut(&mut Self) -> Option<T>) -> Option<Vec<T>> {
        let mut found = Vec::new();
        self.list(|scanner| {
            found.push(item(scanner)?);
            Some(())
        })?;
        Some(found)
    }

    /// A value without others inside.
    pub fn scalar(&mut self) -> Option<Scalar<'a>> {
        match self.peek()? {
            b'"' => self.text().map(Scalar::Text),
            b't' => self.word(b"true", Scalar::Bool(true)),
            b'f' => self.word(b"false", Scalar::Bool(false)),
            b'n' => self.word(b"null", Scalar::Null),
            _ => self.number().map(Scalar::Number),
        }
    }

    /// Pass over a value of any kind.
    pub fn skip(&mut self) -> Option<()> {
        self.skip_within(MAX_DEPTH)
    }

    fn skip_within(&mut self, depth: usize) -> Option<()> {
        match self.peek()? {
            b'{' => {
                let depth = depth.checked_sub(1)?;
                self.object(|inner, _| inner.skip_within(depth))
            }
            b'[' => {
                let depth = depth.checked_sub(1)?;
                self.list(|inner| inner.skip_within(depth))
            }
            _ => self.scalar().map(|_| ()),
        }
    }

    fn skip_blanks(&mut self) {
        while let Some(b' ' | b'\t' | b'\n' | b'\r') = self.text.get(self.at) {
            self.at += 1;
        }
    }

    fn expect(&mut self, byte: u8) -> Option<()> {
        (self.peek()? == byte).then(|| self.at += 1)
    }

    fn word(&mut self, word: &[u8], meaning: Scalar<'a>) -> Option<Scalar<'a>> {
        self.text[self.at..].starts_with(word).then(|| {
            self.at += word.len();
            meaning
        })
    }

    fn text(&mut self) -> Option<&'a [u8]> {
        let rest = self.text[self.at..].strip_prefix(b"\"")?;
        let length = rest.iter().position(|&byte| byte == b'"' || byte < b' ')?;
        self.at += length + 2;
        (rest[length] == b'"').then(|| &rest[..length])
    }

    /// A number without an exponent.
    fn number(&mut self) -> Option<&'a [u8]> {
        let rest = &self.text[self.at..];
        let sign = usize::from(rest.first() == Some(&b'-'));
        let whole = digits(&rest[sign..]);
        if whole == 0 || (whole > 1 && rest[sign] == b'0') {
            return None;
        }
        let mut length = sign + whole;
        if rest.get(length) == Some(&b'.') {
            let decimals = digits(&rest[length + 1..]);
            if decimals == 0 {
                return None;
            }
            length += 1 + decimals;
        }
        if length > MAX_NUMBER_CHARS || matches!(rest.get(length), Some(b'e' | b'E')) {
            return None;
        }
        self.at += length;
        Some(&rest[..length])
    }
}

fn digits(text: &[u8]) -> usize {
    text.iter().take_while(|byte| byte.is_ascii_digit()).count()
}

/// A field that a message should have once.
///
/// `None` from `set`: it is there twice, or of another kind.
#[derive(Clone, Copy, Debug)]
pub struct Field<T> {
    value: Option<T>,
    is_set: bool,
}

impl<T> Default for Field<T> {
    fn default() -> Self {
        Self { value: None, is_set: false }
    }
}

impl<T: Copy> Field<T> {
    /// The value; `None` where it is absent or null.
    pub fn get(&self) -> Option<T> {
        self.value
    }
}

impl<T> Field<T> {
    /// The value, which is gone then.
    pub fn take(&mut self) -> Option<T> {
        self.value.take()
    }

    fn set(&mut self, value: Option<T>) -> Option<()> {
        (!self.is_set).then(|| {
            self.is_set = true;
            self.value = value;
        })
    }
}

impl<'a> Field<&'a [u8]> {
    /// Read a text or null.
    pub fn text(&mut self, scanner: &mut Scanner<'a>) -> Option<()> {
        match scanner.scalar()? {
            Scalar::Text(text) => self.set(Some(text)),
            Scalar::Null => self.set(None),
            _ => None,
        }
    }

    /// Read the text of a number, within quotation marks or without, or null.
    pub fn number_text(&mut self, scanner: &mut Scanner<'a>) -> Option<()> {
        match scanner.scalar()? {
            Scalar::Text(text) | Scalar::Number(text) => self.set(Some(text)),
            Scalar::Null => self.set(None),
            Scalar::Bool(_) => None,
        }
    }

    /// Read a text, or an integer as its text, or null.
    pub fn id(&mut self, scanner: &mut Scanner<'a>) -> Option<()> {
        match scanner.scalar()? {
            Scalar::Text(text) => self.set(Some(text)),
            Scalar::Number(text) => integer(text).and_then(|_| self.set(Some(text))),
            Scalar::Null => self.set(None),
            Scalar::Bool(_) => None,
        }
    }
}

impl<'a> Field<Vec<&'a [u8]>> {
    /// Read a list of texts, or null.
    pub fn texts(&mut self, scanner: &mut Scanner<'a>) -> Option<()> {
        if scanner.peek()? == b'n' {
            return scanner.scalar().and_then(|_| self.set(None));
        }
        let mut found = Vec::new();
        scanner.list(|inner| match inner.scalar()? {
            Scalar::Text(text) => {
                found.push(text);
                Some(())
            }
            _ => None,
        })?;
        self.set(Some(found))
    }
}

impl<'a> Field<Pairs<'a>> {
    /// Read an object of texts, or null.
    pub fn pairs(&mut self, scanner: &mut Scanner<'a>) -> Option<()> {
        if scanner.peek()? == b'n' {
            return scanner.scalar().and_then(|_| self.set(None));
        }
        let mut found = Pairs::default();
        scanner.object(|inner, name| match inner.scalar()? {
            Scalar::Text(text) => found.add(name, text),
            _ => None,
        })?;
        self.set(Some(found))
    }
}

impl Field<i64> {
    /// Read an integer that is not below zero, or null.
    pub fn integer(&mut self, scanner: &mut Scanner<'_>) -> Option<()> {
        match scanner.scalar()? {
            Scalar::Number(text) => self.set(Some(integer(text)?)),
            Scalar::Null => self.set(None),
            _ => None,
        }
    }
}

impl Field<bool> {
    /// Read true, false or null.
    pub fn bool(&mut self, scanner: &mut Scanner<'_>) -> Option<()> {
        match scanner.scalar()? {
            Scalar::Bool(value) => self.set(Some(value)),
            Scalar::Null => self.set(None),
            _ => None,
        }
    }
}

/// Names, each once, and a text of each.
#[derive(Clone, Debug, Default)]
pub struct Pairs<'a>(Vec<(&'a [u8], &'a [u8])>);

impl<'a> Pairs<'a> {
    /// More are not taken: each is compared with all before it.
    const MAX: usize = 64;

    /// Add a name that is not there yet.
    pub fn add(&mut self, name: &'a [u8], text: &'a [u8]) -> Option<()> {
        let is_new = self.0.len() < Self::MAX && self.iter().all(|(other, _)| other != name);
        is_new.then(|| self.0.push((name, text)))
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn iter(&self) -> impl Iterator<Item = (&'a [u8], &'a [u8])> {
        self.0.iter().copied()
    }
}

/// The value of digits; `None` where others stand among them, or it is beyond 2^63 - 1.
pub fn integer(text: &[u8]) -> Option<i64> {
    if text.is_empty() {
        return None;
    }
    text.iter().try_fold(0_i64, |value, byte| {
        let digit = byte.wrapping_sub(b'0');
        (digit < 10).then_some(())?;
        value.checked_mul(10)?.checked_add(i64::from(digit))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn takes(text: &str) -> bool {
        Scanner::new(text.as_bytes())
            .and_then(|mut scanner| scanner.skip().and_then(|()| scanner.end()))
            .is_some()
    }

    #[test]
    fn json_is_taken() {
        for text in [
            "null",
            " true ",
            "false",
            "0",
            "-1.50",
            r#""a b""#,
            "[]",
            "{}",
            "[1, [2,\t{}]]",
            r#"{"a":1,"b" : [ "c" ] , "a":2}"#,
            "\n{}\r\n",
        ] {
            assert!(takes(text), "{text}");
        }
    }

    #[test]
    fn what_is_no_json_or_has_more_than_one_meaning_is_not_taken() {
        for text in [
            "",
            " ",
            "nul",
            "truefalse",
            "01",
            "-",
            "1.",
            ".5",
            "+1",
            "1e3",
            "1E3",
            "NaN",
            "'a'",
            "\"a\tb\"",
            "\"a",
            "\"a\\n\"",
            "\"é\"",
            "[1,]",
            "[,1]",
            "[1 2]",
            "{",
            "}",
            "{\"a\"}",
            "{\"a\":}",
            "{\"a\":1,}",
            "{a:1}",
            "{} {}",
            "{}x",
            "[[[[[[[[[]]]]]]]]]",
            "11111111111111111111111111111111111111111",
        ] {
            assert!(!takes(text), "{text}");
        }
    }

    #[test]
    fn integers_have_63_bits() {
        assert_eq!(integer(b"9223372036854775807"), Some(i64::MAX));
        for text in ["9223372036854775808", "-1", "1.0", "", "1 ", "99999999999999999999"] {
            assert_eq!(integer(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn a_field_that_is_there_twice_is_not_taken() {
        let mut scanner = Scanner::new(b"1 null").unwrap();
        let mut field = Field::<i64>::default();
        assert_eq!(field.integer(&mut scanner), Some(()));
        assert_eq!(field.get(), Some(1));
        assert_eq!(field.integer(&mut scanner), None);
    }
}
