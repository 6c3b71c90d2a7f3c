//! Outlier detection of a pool, compiled.

use super::{value, within};
use crate::{
    draft::{OutlierDraft, PoolDraft},
    health::Outlier,
    problem::{Located, Problem},
};

/// Compiles `outlier`; none if the pool ejects nobody.
pub(super) fn outlier(draft: &PoolDraft, problems: &mut Vec<Problem>) -> Option<Outlier> {
    let setting = draft.outlier.as_ref().filter(|setting| !setting.value.off)?;
    let OutlierDraft { consecutive_errors, error_rate, window, eject, max_ejected, .. } = &setting.value;
    let defaults = Outlier::default();
    let consecutive_errors = match consecutive_errors {
        None => defaults.consecutive_errors,
        Some(Located { value: None, .. }) => None,
        Some(Located { value: Some(count), span }) => {
            within(&Some(Located::new(*count, *span)), 1..=1_000_000, "`consecutive_errors`", problems)
        }
    };
    let outlier = Outlier {
        consecutive_errors,
        error_rate: value(error_rate, defaults.error_rate),
        window: value(window, defaults.window),
        eject: value(eject, defaults.eject),
        max_ejected: value(max_ejected, defaults.max_ejected),
    };
    let no_share = |setting: &Located<_>, key: &str, remedy: &str| {
        Problem::error(setting.span, format!("`{key}` cannot be 0%"), remedy)
    };
    if let (Some(setting), Some(0)) = (error_rate, outlier.error_rate) {
        let place = Located::new((), setting.span);
        problems.push(no_share(
            &place,
            "error_rate",
            "write a share above 0%, or `none` if only errors in a row count",
        ));
    }
    if let (Some(setting), 0) = (max_ejected, outlier.max_ejected) {
        let place = Located::new((), setting.span);
        problems.push(no_share(
            &place,
            "max_ejected",
            "nothing could ever be ejected: write `outlier: none`",
        ));
    }
    if outlier.error_rate.is_none()
        && matches!(&setting.value.consecutive_errors, Some(Located { value: None, .. }))
    {
        let cause = "neither errors in a row nor their rate count, so that nothing is ever ejected";
        problems.push(Problem::error(
            setting.span,
            cause,
            "write `outlier: none`, or leave one of the two in",
        ));
    }
    if let ([only], false, false) = (&draft.backends[..], setting.value.by_default, draft.broken) {
        let cause = format!(
            "the pool `{}` has one backend, which is never ejected: nobody else could take its traffic",
            draft.name.value
        );
        let problem = Problem::warning(setting.span, cause, "add another backend, or remove `outlier`");
        problems.push(problem.with_related(only.address.span, "the only backend"));
    }
    Some(outlier)
}
