//! What files of a bundle may be called. They are never written anywhere, so that a bad name could do no harm; one that
//! is there all the same shows that no tool of ours made the bundle.

/// The table of contents, the first file of the archive.
pub const MANIFEST: &str = "manifest.json";
/// The agents and operators.
pub const AGENTS: &str = "agents.toml";
/// The APIs and scopes.
pub const APIS: &str = "apis.toml";
/// The schema of custom attributes, which a bundle may do without.
pub const CUSTOM_SCHEMA: &str = "custom.cedarschema";
/// The folder of policies and their cases.
pub const POLICIES: &str = "policies";
/// Bytes of a name: what a tar header has room for (POSIX.1 ustar).
const NAME_BYTES_MAX: usize = 255;

/// Whether it is the name of a file that belongs into a bundle.
///
/// # Errors
/// What is wrong with it, for a person.
pub(super) fn require_proper(name: &str) -> Result<(), String> {
    if name.is_empty() || name.len() > NAME_BYTES_MAX {
        return Err(format!("holds a name of {} bytes: {NAME_BYTES_MAX} are the most", name.len()));
    }
    if name.starts_with('/') {
        return Err(format!("holds an absolute path: {name:?}"));
    }
    if name.chars().any(|c| c.is_control() || c == '\\') {
        return Err(format!("holds a name with a control character or backslash: {name:?}"));
    }
    if name.split('/').any(|part| part == "..") {
        return Err(format!("holds a path that leads out of it: {name:?}"));
    }
    // The daemon skips hidden files in a folder; here one would be a rule that nobody sees.
    if name.split('/').any(|part| part.is_empty() || part.starts_with('.')) {
        return Err(format!("holds a path with an empty or hidden part: {name:?}"));
    }
    let of_policies = name.strip_prefix(POLICIES).is_some_and(|rest| rest.starts_with('/'));
    let is_text = name.ends_with(".cedar") || name.ends_with(".cases.toml");
    if [AGENTS, APIS, CUSTOM_SCHEMA].contains(&name) || (of_policies && is_text) {
        return Ok(());
    }
    Err(format!(
        "holds {name:?}: a bundle has {MANIFEST}, {AGENTS}, {APIS}, {CUSTOM_SCHEMA} and {POLICIES}/**/*.cedar and *.cases.toml alone"
    ))
}
