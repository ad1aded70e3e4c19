//! `schema`.

use clap::{Args, ValueEnum};
use driver_validation::{Form, schemas};

use crate::failure::{Failure, Outcome};
use crate::output;

/// Arguments of `schema`.
#[derive(Debug, Args)]
pub(crate) struct SchemaArgs {
    /// Which side of the wire: what drivers read, or what they write
    #[arg(long, value_enum, default_value_t = Side::Input)]
    form: Side,
    /// Wire type, such as ContainerConfig; a list of them where none is given
    name: Option<String>,
}

/// Which side of the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Side {
    /// Fields with a default may be absent
    Input,
    /// Fields with a default are there
    Output,
}

/// Prints a JSON Schema (2020-12), or the names of all.
pub(crate) fn run(args: &SchemaArgs) -> Outcome {
    let form = match args.form {
        Side::Input => Form::Input,
        Side::Output => Form::Output,
    };
    let all = schemas();
    let Some(name) = &args.name else {
        let mut names: Vec<_> = all.iter().map(|schema| schema.name.as_str()).collect();
        names.sort_unstable();
        names.dedup();
        for name in names {
            output::line(name)?;
        }
        return Ok(0);
    };
    let of_name = || all.iter().filter(|schema| schema.name.eq_ignore_ascii_case(name));
    // A type that only goes one way has one form.
    let found = of_name()
        .find(|schema| schema.form == form)
        .or_else(|| of_name().next());
    let found = found.ok_or_else(|| {
        Failure::usage(format!(
            "there is no wire type `{name}`; `driver schema` lists them"
        ))
    })?;
    output::json_pretty(&found.schema)?;
    Ok(0)
}
