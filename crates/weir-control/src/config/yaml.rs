//! Text to a tree of nodes with places: the one module that knows the YAML parser.
//!
//! granit-parser's events are used directly. Typed deserialisers built on it stop at the first problem, lose the
//! places of keys, and lose the characters of scalars (`1.10` becomes a number); all three are promised to users.

mod syntax;

use std::collections::HashMap;

use granit_parser::{Event, Parser, ScalarStyle, ScanError, StrInput, StructureStyle, Tag};
use weir_model::problem::{Located, Problem, Span};

use super::files::{line_places, lines};

/// Nodes that aliases may add in all. Ten lines of aliases of aliases would otherwise become billions of nodes.
const ALIASED_NODES: usize = 200_000;
/// Nothing in the language is nested nearly as deep; it bounds every recursion over nodes.
const DEPTH: usize = 64;

/// A node and where it stands.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) span: Span,
    pub(super) value: Value,
}

/// What a node is. Scalars keep their characters.
#[derive(Clone, Debug)]
pub(super) enum Value {
    /// Nothing was written, or `~`, or `null`.
    Empty,
    /// A text; `plain` if it was written without quotes.
    Scalar { text: String, plain: bool },
    /// A list.
    List(Vec<Node>),
    /// A map in the order of the file, without duplicates.
    Map(Vec<Entry>),
}

/// One key of a map with its value.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) key: Located<String>,
    pub(super) value: Node,
}

/// Parses one file. `None` if its syntax is broken, which is then among the problems.
pub(super) fn parse(text: &str, file: u16, problems: &mut Vec<Problem>) -> Option<Node> {
    let options = granit_parser::options! {
        emit_comments: false,
        flow_nesting_limit: DEPTH,
        block_nesting_limit: DEPTH,
    };
    let parser = Parser::new_from_str_with_options(text, options);
    let mut builder = Builder { parser, text, file, anchors: HashMap::new(), aliased: 0, problems };
    match builder.document() {
        Ok(root) => Some(root),
        Err(problem) => {
            problems.push(*problem);
            None
        }
    }
}

/// Boxed: it is rare and large.
type Stop = Box<Problem>;

struct Builder<'t, 'p> {
    parser: Parser<'t, StrInput<'t>>,
    text: &'t str,
    file: u16,
    anchors: HashMap<usize, Node>,
    aliased: usize,
    problems: &'p mut Vec<Problem>,
}

impl<'t> Builder<'t, '_> {
    fn document(&mut self) -> Result<Node, Stop> {
        let empty = Node { span: self.start(), value: Value::Empty };
        loop {
            match self.next()? {
                (Event::StreamStart, _) => {}
                (Event::DocumentStart(..), _) => break,
                _ => return Ok(empty),
            }
        }
        let first = self.next()?;
        let root = self.node(first, 0)?;
        while let Some(event) = self.parser.next_event() {
            let (event, span) = event.map_err(|error| self.syntax(&error))?;
            if let Event::DocumentStart(..) = event {
                let cause = "the file holds more than one YAML document";
                let remedy = "remove the `---`, or make two files of it in a directory";
                return Err(Box::new(Problem::error(self.span(&span), cause, remedy)));
            }
        }
        Ok(root)
    }

    fn next(&mut self) -> Result<(Event<'t>, granit_parser::Span), Stop> {
        match self.parser.next_event() {
            Some(Ok(event)) => Ok(event),
            Some(Err(error)) => Err(self.syntax(&error)),
            None => Ok((Event::StreamEnd, granit_parser::Span::default())),
        }
    }

    /// The node that begins with this event.
    fn node(&mut self, (event, mark): (Event<'t>, granit_parser::Span), depth: usize) -> Result<Node, Stop> {
        let span = self.span(&mark);
        self.check_tag(event.tag(), &mark, span)?;
        if depth >= DEPTH {
            return Err(too_deep(span));
        }
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                let plain = style == ScalarStyle::Plain && tag.is_none();
                let value = match &*text {
                    "~" | "null" | "" if plain => Value::Empty,
                    _ => Value::Scalar { text: text.into_owned(), plain },
                };
                Ok(self.remember(anchor, Node { span, value }))
            }
            Event::SequenceStart(style, anchor, _) => {
                let (items, end) = self.list(depth)?;
                let span = whole(span, style, &end);
                Ok(self.remember(anchor, Node { span, value: Value::List(items) }))
            }
            Event::MappingStart(style, anchor, _) => {
                let (entries, end) = self.map(depth)?;
                let span = whole(span, style, &end);
                Ok(self.remember(anchor, Node { span, value: Value::Map(entries) }))
            }
            Event::Alias(anchor) => self.alias(anchor, span, depth),
            // The parser answers these itself; without a node there is nothing.
            _ => Ok(Node { span, value: Value::Empty }),
        }
    }

    fn list(&mut self, depth: usize) -> Result<(Vec<Node>, granit_parser::Span), Stop> {
        let mut items = Vec::new();
        loop {
            match self.next()? {
                (Event::SequenceEnd | Event::StreamEnd, end) => return Ok((items, end)),
                event => items.push(self.node(event, depth + 1)?),
            }
        }
    }

    fn map(&mut self, depth: usize) -> Result<(Vec<Entry>, granit_parser::Span), Stop> {
        let mut entries: Vec<Entry> = Vec::new();
        let mut seen: HashMap<String, Span> = HashMap::new();
        loop {
            let key = match self.next()? {
                (Event::MappingEnd | Event::StreamEnd, end) => return Ok((entries, end)),
                event => self.node(event, depth + 1)?,
            };
            let value = self.next()?;
            let mut value = self.node(value, depth + 1)?;
            let Value::Scalar { text, .. } = key.value else {
                let remedy =
                    "keys are words; a text that begins with `[` or `{` or that is `null` needs quotes";
                self.problems.push(Problem::error(key.span, "this is not a key", remedy));
                continue;
            };
            if let Value::Empty = value.value {
                // Nothing was written: the key is what can be pointed at.
                value.span = key.span;
            }
            if let Some(first) = seen.insert(text.clone(), key.span) {
                let problem =
                    Problem::error(key.span, format!("the key `{text}` is given twice"), "keep one of them");
                self.problems.push(problem.with_related(first, "the first one is here"));
                continue;
            }
            entries.push(Entry { key: Located::new(text, key.span), value });
        }
    }

    fn remember(&mut self, anchor: usize, node: Node) -> Node {
        if anchor != 0 {
            self.anchors.insert(anchor, node.clone());
        }
        node
    }

    /// A copy of what the anchor named. Its places are those of the original: that is where it can be changed.
    fn alias(&mut self, anchor: usize, span: Span, depth: usize) -> Result<Node, Stop> {
        let Some(node) = self.anchors.get(&anchor) else {
            let cause = "the alias stands inside of what it names";
            return Err(Box::new(Problem::error(span, cause, "write the value out")));
        };
        let (nodes, height) = measure(node);
        self.aliased += nodes;
        if self.aliased > ALIASED_NODES {
            let cause = format!("the aliases of this file stand for more than {ALIASED_NODES} values");
            return Err(Box::new(Problem::error(span, cause, "use fewer aliases of aliases")));
        }
        if depth + height > DEPTH {
            return Err(too_deep(span));
        }
        Ok(node.clone())
    }

    fn check_tag(&self, tag: Option<&Tag>, mark: &granit_parser::Span, span: Span) -> Result<(), Stop> {
        let Some(tag) = tag.filter(|tag| !tag.is_yaml_core_schema()) else {
            return Ok(());
        };
        let place = mark.tag_span().map_or(span, |mark| self.span(&mark));
        let cause = format!("the tag `{}` means nothing here", tag.original());
        Err(Box::new(Problem::error(place, cause, "remove it; a text that begins with `!` needs quotes")))
    }

    fn syntax(&self, error: &ScanError) -> Stop {
        Box::new(syntax::problem(error, self.text, self.file))
    }

    fn start(&self) -> Span {
        Span { file: self.file, line: 1, column: 1, length: 1 }
    }

    /// The place of an event; a text of several lines is marked on its first one.
    fn span(&self, mark: &granit_parser::Span) -> Span {
        let one_line = mark.start.line() == mark.end.line();
        let length = if one_line {
            mark.end.col().saturating_sub(mark.start.col())
        } else {
            let first = mark.slice(self.text).and_then(|slice| lines(slice).next());
            first.map_or(1, |line| line.trim_end().chars().count())
        };
        Span {
            file: self.file,
            line: number(mark.start.line()),
            column: number(mark.start.col() + 1),
            length: number(length.max(1)),
        }
    }
}

/// From an opening bracket to the closing one, if they stand on one line.
fn whole(start: Span, style: StructureStyle, end: &granit_parser::Span) -> Span {
    let last = number(end.end.col());
    if style == StructureStyle::Flow && number(end.end.line()) == start.line && last >= start.column {
        return Span { length: last + 1 - start.column, ..start };
    }
    start
}

/// How many nodes there are, and how deep they are nested.
fn measure(node: &Node) -> (usize, usize) {
    let children: Vec<_> = match &node.value {
        Value::Empty | Value::Scalar { .. } => Vec::new(),
        Value::List(items) => items.iter().map(measure).collect(),
        Value::Map(entries) => entries.iter().map(|entry| measure(&entry.value)).collect(),
    };
    let nodes = children.iter().map(|(nodes, _)| nodes).sum::<usize>();
    let height = children.iter().map(|(_, height)| *height).max().unwrap_or(0);
    (nodes + 1, height + 1)
}

fn too_deep(span: Span) -> Stop {
    let cause = format!("the values are nested more than {DEPTH} deep");
    Box::new(Problem::error(span, cause, "nothing in the language needs that; look for a bracket too many"))
}

fn number(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests;
