//! Image references, by the rules of the distribution project.

#![allow(clippy::unwrap_used)]

use driver_validation::ImageReference;
use rstest::rstest;

#[rstest]
#[case("alpine", "docker.io/library/alpine:latest")]
#[case("alpine:3.20", "docker.io/library/alpine:3.20")]
#[case("team/app", "docker.io/team/app:latest")]
#[case("docker.io/alpine", "docker.io/library/alpine:latest")]
#[case("index.docker.io/team/app:1", "docker.io/team/app:1")]
#[case("ghcr.io/team/app:v1.2", "ghcr.io/team/app:v1.2")]
#[case("localhost/app", "localhost/app:latest")]
#[case("localhost:5000/app:1", "localhost:5000/app:1")]
#[case("127.0.0.1:5000/a/b/c", "127.0.0.1:5000/a/b/c:latest")]
#[case("[::1]:5000/app", "[::1]:5000/app:latest")]
#[case("REGISTRY/app", "REGISTRY/app:latest")]
#[case("a__b/c--d.e_f", "docker.io/a__b/c--d.e_f:latest")]
#[case("localhost:5000", "docker.io/library/localhost:5000")]
fn normal_forms(#[case] text: &str, #[case] normalized: &str) {
    let image: ImageReference = text.parse().unwrap();
    assert_eq!(image.normalized(), normalized);
    assert_eq!(image.to_string(), text);
    let again: ImageReference = normalized.parse().unwrap();
    assert_eq!(again.normalized(), normalized);
}

#[test]
fn a_digest_needs_no_tag() {
    let digest = format!("sha256:{}", "0f".repeat(32));
    let image: ImageReference = format!("alpine@{digest}").parse().unwrap();
    assert_eq!(
        (image.name(), image.tag(), image.digest()),
        ("alpine", None, Some(digest.as_str()))
    );
    assert_eq!(image.normalized(), format!("docker.io/library/alpine@{digest}"));
    let both: ImageReference = format!("ghcr.io/a/b:1@{digest}").parse().unwrap();
    assert_eq!(
        (both.name(), both.tag(), both.registry()),
        ("ghcr.io/a/b", Some("1"), "ghcr.io")
    );
    assert_eq!(both.repository(), "a/b");
}

#[rstest]
#[case("alpine", false)]
#[case("sha256:0f0f", false)]
#[case("0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f", true)]
#[case(
    "sha256:0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f",
    true
)]
fn ids(#[case] text: &str, #[case] is_id: bool) {
    assert_eq!(text.parse::<ImageReference>().unwrap().is_image_id(), is_id);
}

#[rstest]
#[case("")]
#[case(" ")]
#[case("Alpine")]
#[case("alpine:")]
#[case("alpine:-1")]
#[case("alpine:a b")]
#[case("alpine@")]
#[case("alpine@sha256:")]
#[case("alpine@sha256:ABCD")]
#[case("alpine@md5:0123")]
#[case("/alpine")]
#[case("alpine/")]
#[case("a//b")]
#[case("a___b")]
#[case("a..b")]
#[case("-a")]
#[case("a-")]
#[case("ghcr.io/Team/app")]
#[case("ghcr.io:port/app")]
#[case("ghcr.io:99999/app")]
#[case("-x.y/app")]
#[case("http://ghcr.io/app")]
#[case("a:1:2")]
#[case("café")]
fn not_references(#[case] text: &str) {
    let error = text.parse::<ImageReference>().unwrap_err();
    assert_eq!(error.violation_list()[0].pointer, "/image");
}

#[test]
fn lengths() {
    assert!("a".repeat(255).parse::<ImageReference>().is_ok());
    assert!("a".repeat(256).parse::<ImageReference>().is_err());
    assert!(format!("a:{}", "t".repeat(128)).parse::<ImageReference>().is_ok());
    assert!(
        format!("a:{}", "t".repeat(129))
            .parse::<ImageReference>()
            .is_err()
    );
}
