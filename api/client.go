package api

// ClientVersion is the version of the JavaScript client in clients/typescript, which
// speaks this interface and is served by the node (semver).
const ClientVersion = "0.1.0-dev"
