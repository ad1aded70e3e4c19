//! `health`, `capabilities`, `preflight`, `recover`, `reap`: what concerns a driver as a whole.

use clap::Args;
use driver_types::{CheckStatus, ObjectKind, ReapPolicy, ReapReason};

use crate::App;
use crate::cli::Format;
use crate::failure::{Failure, Outcome};
use crate::{output, parse};

/// Tells whether the engine answers; exit code 1 if not.
pub(crate) async fn health(app: &App) -> Outcome {
    let health = app.driver.health_check().await?;
    match app.format {
        Format::Json => output::json(&health)?,
        Format::Table => {
            let verdict = if health.is_healthy() {
                "healthy"
            } else {
                "unhealthy"
            };
            let engine = health.engine.as_deref().unwrap_or("no engine");
            output::line(format!(
                "{} is {verdict}: {engine}, {} ms",
                app.driver.name(),
                health.latency_ms
            ))?;
            if let Some(error) = &health.error {
                output::line(format!("  {error}"))?;
            }
        }
    }
    if health.is_healthy() {
        Ok(0)
    } else {
        Err(Failure::Silent(1))
    }
}

/// Lists what the driver can do.
pub(crate) async fn capabilities(app: &App) -> Outcome {
    let capabilities = app.driver.capabilities().await?;
    match app.format {
        Format::Json => output::json(&capabilities)?,
        Format::Table => {
            let rows = capabilities.iter().map(|(capability, support)| {
                [
                    capability.to_string(),
                    support.level.to_string(),
                    support.reason.unwrap_or_default(),
                ]
            });
            output::table(&["CAPABILITY", "SUPPORT", "REASON"], rows)?;
        }
    }
    Ok(0)
}

/// Lists what the host has and lacks; exit code 1 if the driver cannot work.
pub(crate) async fn preflight(app: &App) -> Outcome {
    let preflight = app.driver.preflight().await?;
    match app.format {
        Format::Json => output::json(&preflight)?,
        Format::Table => {
            let rows = preflight.checks.iter().map(|check| {
                let status = match check.status {
                    CheckStatus::Ok => "ok",
                    CheckStatus::Warn => "warn",
                    CheckStatus::Fail => "FAIL",
                };
                let remedy = check.remedy.clone().unwrap_or_default();
                [
                    status.to_owned(),
                    check.name.clone(),
                    check.message.clone(),
                    remedy,
                ]
            });
            output::table(&["STATUS", "CHECK", "FOUND", "REMEDY"], rows)?;
        }
    }
    if preflight.is_ok() {
        Ok(0)
    } else {
        Err(Failure::Silent(1))
    }
}

/// Adopts what a crash has left, and tells what was found.
pub(crate) async fn recover(app: &App) -> Outcome {
    let report = app.driver.recover().await?;
    match app.format {
        Format::Json => output::json(&report)?,
        Format::Table => {
            let container = |what: &str, container: &driver_types::ContainerInstance| {
                [
                    what.to_owned(),
                    container.id.clone(),
                    format!("{} ({})", container.name, container.status),
                ]
            };
            let rows = report.adopted.iter().map(|found| container("adopted", found));
            let rows = rows.chain(report.exited.iter().map(|found| container("exited", found)));
            let orphans = report.orphaned.iter();
            let rows = rows.chain(orphans.map(|object| {
                [
                    "orphaned".to_owned(),
                    object.id.clone(),
                    kind(object.kind).to_owned(),
                ]
            }));
            output::table(&["FOUND", "ID", "WHAT"], rows)?;
        }
    }
    Ok(0)
}

/// Arguments of `reap`.
#[derive(Debug, Args)]
pub(crate) struct ReapArgs {
    /// Remove containers that are older than this, running or not
    #[arg(long, value_name = "TIME", value_parser = parse::duration)]
    max_age: Option<u64>,
    /// Remove what belongs to no owner of this list; may be repeated
    #[arg(long, value_name = "OWNER")]
    live_owner: Vec<String>,
    /// Remove containers of no session of this list; may be repeated
    #[arg(long, value_name = "SESSION")]
    live_session: Vec<String>,
    /// Spare what is younger than this [default: 5m]
    #[arg(long, value_name = "TIME", value_parser = parse::duration)]
    grace: Option<u64>,
    /// Tell what would be removed, and remove nothing
    #[arg(long)]
    dry_run: bool,
}

/// Removes what has expired or has no owner. Exit code 1 if something could not be removed.
pub(crate) async fn reap(app: &App, args: &ReapArgs) -> Outcome {
    let list = |names: &Vec<String>| (!names.is_empty()).then(|| names.clone());
    let policy = ReapPolicy {
        max_age_ms: args.max_age,
        live_owners: list(&args.live_owner),
        live_sessions: list(&args.live_session),
        grace_ms: args.grace,
        dry_run: args.dry_run,
    };
    let report = app.driver.reap(&policy).await?;
    match app.format {
        Format::Json => output::json(&report)?,
        Format::Table => {
            let removed = if report.dry_run {
                "would be removed"
            } else {
                "removed"
            };
            let rows = report.removed.iter().map(|reaped| {
                let reason = match reaped.reason {
                    ReapReason::Expired => "expired",
                    ReapReason::Ownerless => "no owner",
                    ReapReason::Orphaned => "half-made",
                };
                [
                    kind(reaped.object.kind).to_owned(),
                    reaped.object.id.clone(),
                    removed.to_owned(),
                    reason.to_owned(),
                ]
            });
            let rows = rows.chain(report.failed.iter().map(|failure| {
                let object = &failure.object;
                [
                    kind(object.kind).to_owned(),
                    object.id.clone(),
                    "FAILED".to_owned(),
                    failure.error.to_string(),
                ]
            }));
            output::table(&["KIND", "ID", "RESULT", "WHY"], rows)?;
        }
    }
    if report.failed.is_empty() {
        Ok(0)
    } else {
        Err(Failure::Silent(1))
    }
}

fn kind(kind: ObjectKind) -> &'static str {
    match kind {
        ObjectKind::Container => "container",
        ObjectKind::Volume => "volume",
        ObjectKind::Network => "network",
        ObjectKind::Image => "image",
    }
}
