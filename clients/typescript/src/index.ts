/**
 * `@picloud/client`: subscribe to topics of a PiCloud node, publish to them, call its endpoints. README.md shows how.
 *
 * @packageDocumentation
 */
export { createClient, type Client, type ClientEvents, type ClientOptions, type State } from "./client.js";
export type { TokenReason, TokenSource } from "./auth.js";
export type { Endpoint, EndpointOptions, Method, RequestOptions } from "./endpoint.js";
export { AuthError, InvalidError, NetworkError, PicloudError, StatusError, StreamError, TimeoutError } from "./errors.js";
export type { HistoryOptions } from "./history.js";
export type { CallOptions } from "./call.js";
export type { LinkState } from "./state.js";
export type { StateName } from "./machine.js";
export type { Draft, Published, PublishOptions } from "./publish.js";
export type { Gap, Reset, Since, Topic, TopicEvent, TopicEvents, TopicOptions } from "./topic.js";
export type { RequestValidator, StandardResult, StandardSchema, Validator } from "./validate.js";
