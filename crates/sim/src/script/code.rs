//! `%{ assert tcpi_snd_cwnd == 10, tcpi_snd_cwnd }%`: what scripts assert of a
//! connection's state.
//!
//! The original hands the text to Python. Here the part of it that scripts use
//! is evaluated: integers and lists of them, names, arithmetic, comparison (also
//! chained, and `in`), `and`, `or`, `not`, `abs`, `min`, `max`, `len`, `int`.
//! Of what is beyond that, it is said that it can't be judged.

use core::cmp::Ordering;

#[cfg(test)]
mod tests;

/// How deep an expression may be nested.
const DEPTH_MAX: u32 = 64;

/// What became of a piece of code.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Judgement {
    /// All of it holds.
    Holds,
    /// This assertion does not, with the values of the names in it.
    Fails(String),
    /// It can't be told.
    Unknown(String),
}

/// What a name stands for.
pub(super) type Lookup<'a> = &'a dyn Fn(&str) -> Option<i64>;

/// Runs a piece of code.
pub(super) fn judge(code: &str, lookup: Lookup<'_>) -> Judgement {
    for statement in statements(code) {
        let Some(condition) = statement.strip_prefix("assert") else {
            // These only show something, or nothing.
            if statement.starts_with("print") || statement == "pass" {
                continue;
            }
            return Judgement::Unknown(format!("`{statement}` is more than an assertion"));
        };
        let mut evaluator = Evaluator {
            rest: condition,
            lookup,
            depth: 0,
            seen: Vec::new(),
        };
        match evaluator.whole() {
            Ok(true) => {}
            Ok(false) => {
                let mut seen = evaluator.seen;
                seen.dedup();
                return Judgement::Fails(format!("{} ({})", statement.trim(), seen.join(", ")));
            }
            Err(why) => return Judgement::Unknown(format!("`{}`: {why}", statement.trim())),
        }
    }
    Judgement::Holds
}

/// One statement a line, or with `;` between them; a bracket that is open carries
/// on to the next line. Comments are left out.
fn statements(code: &str) -> Vec<String> {
    let mut statements = vec![String::new()];
    let (mut depth, mut quote) = (0_i32, None);
    let mut comment = false;
    for c in code.chars() {
        comment &= c != '\n';
        match (c, quote) {
            _ if comment => continue,
            ('#', None) => {
                comment = true;
                continue;
            }
            ('"' | '\'', None) => quote = Some(c),
            (_, Some(open)) if c == open => quote = None,
            // A backslash at its end carries a line on.
            ('\\', None) => continue,
            ('(' | '[', None) => depth += 1,
            (')' | ']', None) => depth -= 1,
            ('\n' | ';', None) if depth <= 0 => {
                statements.push(String::new());
                continue;
            }
            _ => {}
        }
        if let Some(last) = statements.last_mut() {
            last.push(c);
        }
    }
    let trimmed = statements.iter().map(|statement| statement.trim().to_owned());
    trimmed.filter(|statement| !statement.is_empty()).collect()
}

#[derive(Clone, PartialEq, Eq, Debug)]
enum Value {
    Int(i64),
    List(Vec<i64>),
}

struct Evaluator<'a> {
    rest: &'a str,
    lookup: Lookup<'a>,
    depth: u32,
    /// Names met, with their values.
    seen: Vec<String>,
}

type Evaluated<T = Value> = Result<T, String>;

impl Evaluator<'_> {
    /// A condition, perhaps with a `, message` behind it.
    fn whole(&mut self) -> Evaluated<bool> {
        let value = self.or()?;
        match self.rest.trim_start().chars().next() {
            None | Some(',') => Ok(truth(&value)),
            Some(c) => Err(format!("`{c}` was not expected")),
        }
    }

    fn or(&mut self) -> Evaluated {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err("nested too deep".to_owned());
        }
        let mut left = self.and()?;
        while self.eat_word("or") {
            let right = self.and()?;
            left = if truth(&left) { left } else { right };
        }
        self.depth -= 1;
        Ok(left)
    }

    fn and(&mut self) -> Evaluated {
        let mut left = self.not()?;
        while self.eat_word("and") {
            let right = self.not()?;
            left = if truth(&left) { right } else { left };
        }
        Ok(left)
    }

    fn not(&mut self) -> Evaluated {
        let mut negated = false;
        while self.eat_word("not") {
            negated = !negated;
        }
        let value = self.comparison()?;
        Ok(if negated {
            Value::Int(i64::from(!truth(&value)))
        } else {
            value
        })
    }

    fn comparison(&mut self) -> Evaluated {
        let mut left = self.bits()?;
        let mut holds = None;
        while let Some(operator) = self
            .eat_any(&["==", "!=", "<=", ">=", "<", ">"])
            .or_else(|| self.eat_in())
        {
            let right = self.bits()?;
            let this = compare(operator, &left, &right)?;
            holds = Some(holds.unwrap_or(true) && this);
            left = right;
        }
        Ok(holds.map_or(left, |holds| Value::Int(i64::from(holds))))
    }

    fn bits(&mut self) -> Evaluated {
        let mut left = self.sum()?;
        while let Some(operator) = self.eat_any(&["|", "&", "^", "<<", ">>"]) {
            let right = self.sum()?;
            left = calculate(operator, &left, &right)?;
        }
        Ok(left)
    }

    fn sum(&mut self) -> Evaluated {
        let mut left = self.product()?;
        while let Some(operator) = self.eat_any(&["+", "-"]) {
            let right = self.product()?;
            left = calculate(operator, &left, &right)?;
        }
        Ok(left)
    }

    fn product(&mut self) -> Evaluated {
        let mut left = self.unary()?;
        while let Some(operator) = self.eat_any(&["*", "//", "/", "%"]) {
            let right = self.unary()?;
            left = calculate(operator, &left, &right)?;
        }
        Ok(left)
    }

    fn unary(&mut self) -> Evaluated {
        if self.eat_any(&["-"]).is_some() {
            let value = self.atom()?;
            return calculate("-", &Value::Int(0), &value);
        }
        self.atom()
    }

    fn atom(&mut self) -> Evaluated {
        if self.eat_any(&["("]).is_some() {
            let mut values = vec![self.or()?];
            while self.eat_any(&[","]).is_some() {
                values.push(self.or()?);
            }
            self.close(")")?;
            return if values.len() == 1 {
                Ok(values.remove(0))
            } else {
                list(values)
            };
        }
        if self.eat_any(&["["]).is_some() {
            let mut values = Vec::new();
            while self.eat_any(&["]"]).is_none() {
                values.push(self.or()?);
                if self.eat_any(&[","]).is_none() {
                    self.close("]")?;
                    break;
                }
            }
            return list(values);
        }
        let word = self.word();
        match word.as_str() {
            "" => Err("a value was expected".to_owned()),
            "True" => Ok(Value::Int(1)),
            "False" => Ok(Value::Int(0)),
            _ if word.starts_with(|c: char| c.is_ascii_digit()) => integer(&word),
            _ if self.eat_any(&["("]).is_some() => self.function(&word),
            _ => match (self.lookup)(&word) {
                Some(value) => {
                    self.seen.push(format!("{word} is {value}"));
                    Ok(Value::Int(value))
                }
                None => Err(format!("nobody here knows {word}")),
            },
        }
    }

    fn function(&mut self, name: &str) -> Evaluated {
        let mut arguments = Vec::new();
        while self.eat_any(&[")"]).is_none() {
            arguments.push(self.or()?);
            if self.eat_any(&[","]).is_none() {
                self.close(")")?;
                break;
            }
        }
        let ints: Vec<i64> = match list(arguments.clone()) {
            Ok(Value::List(ints)) => ints,
            _ => Vec::new(),
        };
        match (name, arguments.as_slice(), ints.as_slice()) {
            ("len", [Value::List(items)], _) => Ok(Value::Int(items.len() as i64)),
            ("abs", _, [value]) => Ok(Value::Int(value.saturating_abs())),
            ("int", _, [value]) => Ok(Value::Int(*value)),
            ("min", _, [_, ..]) => Ok(Value::Int(ints.iter().copied().min().unwrap_or_default())),
            ("max", _, [_, ..]) => Ok(Value::Int(ints.iter().copied().max().unwrap_or_default())),
            _ => Err(format!("{name}(...) is not known here")),
        }
    }

    fn close(&mut self, bracket: &'static str) -> Evaluated<()> {
        match self.eat_any(&[bracket]) {
            Some(_) => Ok(()),
            None => Err(format!("`{bracket}` is missing")),
        }
    }

    fn eat_any(&mut self, operators: &[&'static str]) -> Option<&'static str> {
        let rest = self.rest.trim_start();
        let operator = operators.iter().find(|operator| rest.starts_with(**operator))?;
        self.rest = &rest[operator.len()..];
        Some(operator)
    }

    fn eat_word(&mut self, word: &str) -> bool {
        let rest = self.rest.trim_start();
        let after = rest.strip_prefix(word);
        match after {
            Some(after) if !after.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_') => {
                self.rest = after;
                true
            }
            _ => false,
        }
    }

    fn eat_in(&mut self) -> Option<&'static str> {
        let before = self.rest;
        if self.eat_word("in") {
            return Some("in");
        }
        if self.eat_word("not") && self.eat_word("in") {
            return Some("not in");
        }
        self.rest = before;
        None
    }

    fn word(&mut self) -> String {
        let rest = self.rest.trim_start();
        let end = rest
            .find(|c: char| !(c.is_ascii_alphanumeric() || c == '_'))
            .unwrap_or(rest.len());
        self.rest = &rest[end..];
        rest[..end].to_owned()
    }
}

fn truth(value: &Value) -> bool {
    match value {
        Value::Int(value) => *value != 0,
        Value::List(items) => !items.is_empty(),
    }
}

fn list(values: Vec<Value>) -> Evaluated {
    let int = |value| match value {
        Value::Int(value) => Ok(value),
        Value::List(_) => Err("a list in a list".to_owned()),
    };
    values
        .into_iter()
        .map(int)
        .collect::<Result<_, _>>()
        .map(Value::List)
}

fn integer(word: &str) -> Evaluated {
    let parsed = match word.strip_prefix("0x") {
        Some(hex) => i64::from_str_radix(hex, 16),
        None => word.parse(),
    };
    parsed
        .map(Value::Int)
        .map_err(|_| format!("{word} is no integer"))
}

fn compare(operator: &str, left: &Value, right: &Value) -> Evaluated<bool> {
    match (operator, left, right) {
        ("in", Value::Int(item), Value::List(items)) => Ok(items.contains(item)),
        ("not in", Value::Int(item), Value::List(items)) => Ok(!items.contains(item)),
        ("==", ..) => Ok(left == right),
        ("!=", ..) => Ok(left != right),
        (_, Value::Int(left), Value::Int(right)) => {
            let order = left.cmp(right);
            match operator {
                "<" => Ok(order == Ordering::Less),
                ">" => Ok(order == Ordering::Greater),
                "<=" => Ok(order != Ordering::Greater),
                ">=" => Ok(order != Ordering::Less),
                _ => Err(format!("`{operator}` of these")),
            }
        }
        _ => Err(format!("`{operator}` of these")),
    }
}

fn calculate(operator: &str, left: &Value, right: &Value) -> Evaluated {
    let (Value::Int(left), Value::Int(right)) = (left, right) else {
        return Err(format!("`{operator}` of a list"));
    };
    let (left, right) = (*left, *right);
    let result = match operator {
        "+" => left.checked_add(right),
        "-" => left.checked_sub(right),
        "*" => left.checked_mul(right),
        // A division that leaves a rest would be a fraction in Python.
        "/" if right != 0 && left.checked_rem(right) != Some(0) => None,
        "/" | "//" => left.checked_div_euclid(right),
        "%" => left.checked_rem_euclid(right),
        "|" => Some(left | right),
        "&" => Some(left & right),
        "^" => Some(left ^ right),
        "<<" => u32::try_from(right).ok().and_then(|by| left.checked_shl(by)),
        ">>" => u32::try_from(right).ok().and_then(|by| left.checked_shr(by)),
        _ => None,
    };
    result
        .map(Value::Int)
        .ok_or_else(|| format!("{left} {operator} {right} is no integer"))
}
