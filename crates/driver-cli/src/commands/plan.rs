//! `plan`.

use clap::Args;

use crate::App;
use crate::cli::Format;
use crate::config_args::ConfigArgs;
use crate::failure::{Failure, Outcome};
use crate::{flags, output};

/// Arguments of `plan`.
#[derive(Debug, Args)]
pub(crate) struct PlanArgs {
    #[command(flatten)]
    config: ConfigArgs,
}

/// Shows what `create` would do with the same flags. Exit code 1 if something would be refused.
pub(crate) async fn run(app: &App, args: PlanArgs) -> Outcome {
    let config = args.config.into_config()?;
    let plan = app.driver.plan(&config).await?;
    match app.format {
        Format::Json => output::json(&plan)?,
        Format::Table => {
            let image = match (&plan.image_digest, plan.pull) {
                (_, true) => "would be pulled".to_owned(),
                (Some(digest), false) => format!("is here ({digest})"),
                (None, false) => "is not here".to_owned(),
            };
            let verdict = if plan.feasible {
                "would create the container"
            } else {
                "would refuse it"
            };
            output::line(format!("{} {verdict}; image {} {image}", plan.driver, plan.image))?;
            let rows = plan.items.iter().map(|item| {
                let flag = flags::flag_of(&item.pointer).unwrap_or_default();
                [
                    item.pointer.clone(),
                    flag,
                    item.support.to_string(),
                    item.reason.clone().unwrap_or_default(),
                ]
            });
            output::table(&["FIELD", "FLAG", "SUPPORT", "HOW"], rows)?;
        }
    }
    if plan.feasible {
        Ok(0)
    } else {
        Err(Failure::Silent(1))
    }
}
