//! Rules for security options.

use driver_types::{LinuxCapabilities, SecurityOptions};

use crate::report::{At, Report, Show};
use crate::text::user;

const ALL: &str = LinuxCapabilities::ALL;

pub(crate) fn security(report: &mut Report, at: At<'_>, options: &SecurityOptions) {
    user(report, format_args!("{at}/user"), &options.user);
    capabilities(
        report,
        format_args!("{at}/capabilities/drop"),
        &options.capabilities.drop,
    );
    capabilities(
        report,
        format_args!("{at}/capabilities/add"),
        &options.capabilities.add,
    );
}

fn capabilities(report: &mut Report, at: At<'_>, names: &[String]) {
    for (index, name) in names.iter().enumerate() {
        if canonical_name(name).is_none() {
            let message = format!("{} is not a Linux capability", Show(name));
            let hint = "use a name of capabilities(7) such as NET_ADMIN, or ALL";
            report.add(format_args!("{at}/{index}"), message, hint);
        }
    }
}

/// The name in upper case without `CAP_`, if there is such a capability.
fn canonical_name(name: &str) -> Option<&'static str> {
    let bare = match name.get(..4) {
        Some(prefix) if prefix.eq_ignore_ascii_case("CAP_") => &name[4..],
        _ => name,
    };
    if bare.eq_ignore_ascii_case(ALL) {
        return Some(ALL);
    }
    LinuxCapabilities::NAMES
        .into_iter()
        .find(|known| known.eq_ignore_ascii_case(bare))
}

/// Upper case without `CAP_`, sorted, each once; `ALL` alone where it is among them.
pub(crate) fn normalize(capabilities: &mut LinuxCapabilities) {
    for names in [&mut capabilities.drop, &mut capabilities.add] {
        for name in names.iter_mut() {
            if let Some(canonical) = canonical_name(name).filter(|canonical| canonical != name) {
                canonical.clone_into(name);
            }
        }
        if names.iter().any(|name| name == ALL) {
            names.retain(|name| name == ALL);
        }
        names.sort_unstable();
        names.dedup();
    }
}
