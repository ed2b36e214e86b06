// Type declarations of the PiCloud SDK, for editors. Version 0.4.0.
// Write them beside your scripts with: picloud scripts types > picloud.d.ts

declare module "picloud" {
  /** The version of the SDK. */
  export const version: string;

  /** Anything that is JSON. */
  export type Json = null | boolean | number | string | Json[] | { [key: string]: Json };
  export type Bytes = ArrayBuffer | ArrayBufferView;

  // ---- what handlers get ----

  export interface PubSubEvent { kind: "pubsub"; at: string; topic: string; data: any; id: string; source: string }
  export interface KVEvent { kind: "kv"; at: string; key: string; value?: any; binary?: true; version: number; deleted: boolean }
  export interface DocsEvent { kind: "docs"; at: string; collection: string; id: string; document?: any; version: number; deleted: boolean }
  export interface FilesEvent { kind: "files"; at: string; path: string; file?: { path: string; type: string; size: number; sha256: string; version: number }; version: number; deleted: boolean }
  export interface CronEvent { kind: "cron"; at: string }
  export interface DeadLetterEvent { kind: "dead_letter"; at: string; letter: DeadLetter }
  export interface DeadLetter {
    id: string; app: string; trigger: string; delivery: string; attempts: number; reason: string; created_at: string;
    what: { kind: string; at: string; name?: string; container?: string; position?: string; source?: string; data?: any; binary?: true; deleted?: true; version?: number };
  }
  export interface Request {
    method: string; path: string; params: Record<string, string>; query: Record<string, string | string[]>;
    headers: Record<string, string>; address: string;
    /** A JSON value, text, or with `binary` base64; null when there is none. */
    body: any; binary?: true;
  }
  export interface Context {
    app: string; script: string; version: number;
    trigger?: string; kind?: string; attempt?: number; attempts?: number;
    /** The same over attempts, restarts and redriving: an idempotency key. */
    delivery?: string;
    endpoint?: string; caller?: Caller | null;
  }
  export interface Caller { kind: string; name: string }

  /** What this run is about. */
  export let ctx: Context;

  // ---- data ----

  export interface Entry { key: string; value: any; version: number; updatedAt: Date; expiresAt?: Date }
  /** Key-value pairs of the app. */
  export const kv: {
    get(key: string): Promise<any | undefined>;
    entry(key: string): Promise<Entry | undefined>;
    /** Sets a key and returns its version. `ttl` is in seconds; `version` and `create` compare and set. */
    set(key: string, value: Json | Bytes, options?: { ttl?: number; version?: number; create?: boolean }): Promise<number>;
    delete(key: string, options?: { version?: number }): Promise<boolean>;
    increment(key: string, by?: number, options?: { ttl?: number }): Promise<number>;
    list(options?: { prefix?: string; after?: string; limit?: number }): Promise<{ entries: Entry[]; next: string }>;
  };

  export interface Document<T = any> { id: string; body: T; version: number; createdAt: Date; updatedAt: Date }
  export type Scalar = string | number | boolean | null;
  export type Where = Record<string, Scalar | { eq?: Scalar; gt?: string | number; gte?: string | number; lt?: string | number; lte?: string | number; prefix?: string }>;
  /** Documents of the app, in collections. */
  export const docs: {
    get<T = any>(collection: string, id: string): Promise<Document<T> | undefined>;
    create<T = any>(collection: string, body: T): Promise<Document<T>>;
    put<T = any>(collection: string, id: string, body: T, options?: { version?: number; create?: boolean }): Promise<Document<T>>;
    /** Merges a patch (RFC 7396) into a document that is there. */
    merge<T = any>(collection: string, id: string, patch: any, options?: { version?: number }): Promise<Document<T>>;
    delete(collection: string, id: string, options?: { version?: number }): Promise<boolean>;
    find<T = any>(collection: string, query?: { where?: Where; sort?: string; descending?: boolean; after?: string; limit?: number }): Promise<{ documents: Document<T>[]; next: string }>;
  };

  export interface FileInfo { path: string; type: string; size: number; sha256: string; version: number; createdAt: Date; updatedAt: Date }
  /** Files of the app. A script reads and writes at most 1 MiB of one at once. */
  export const files: {
    stat(path: string): Promise<FileInfo | undefined>;
    read(path: string, options?: { offset?: number; length?: number }): Promise<Uint8Array | undefined>;
    /** All of a file as UTF-8 text. */
    text(path: string): Promise<string | undefined>;
    /** Writes a whole file; readers see the old one or the new one. `version` and `create` compare and set. */
    write(path: string, data: string | Bytes, options?: { type?: string; version?: number; create?: boolean }): Promise<FileInfo>;
    delete(path: string, options?: { version?: number }): Promise<boolean>;
    list(options?: { prefix?: string; after?: string; limit?: number }): Promise<{ files: FileInfo[]; next: string }>;
  };

  /** What only scripts of the app may read. */
  export const secrets: { get(name: string): Promise<string | undefined> };

  /** Events. */
  export const pubsub: {
    publish(topic: string, data: Json, options?: { idempotencyKey?: string }): Promise<{ id: string }>;
    subscriberToken(topics: string | string[], ttl?: number): Promise<{ token: string; expiresAt: string }>;
  };

  // ---- the world ----

  /** How the board is. What is null is not known. */
  export interface BoardHealth {
    readonly at: Date; readonly model: string | null;
    /** The pins are simulated. */
    readonly simulated: boolean;
    /** Seconds since the board was started. */
    readonly uptime: number | null;
    readonly celsius: number | null;
    /** Now, and at any time since the board was started. */
    readonly undervoltage: boolean | null; readonly undervoltageSeen: boolean | null;
    readonly throttled: boolean | null; readonly throttledSeen: boolean | null;
    /** 0 to 1 of all cores, since it was asked before. */
    readonly cpu: number | null;
    readonly load: number | null;
    /** Bytes. */
    readonly memoryTotal: number | null; readonly memoryAvailable: number | null;
    readonly diskTotal: number | null; readonly diskFree: number | null;
    /** 0 to 1 of the life of the card. */
    readonly wear: number | null;
    readonly clockSynced: boolean | null;
  }
  export interface Pin {
    app: string; name: string; line: string; output: boolean;
    /** null: unknown, and `fault` says why. */
    on: boolean | null;
    /** Milliseconds until a pulse ends. */
    for_ms?: number;
    /** Source of the last change of an output; undefined: it is as it started. */
    set_by?: string;
    /** The topic to which an input publishes events. */
    topic?: string;
    simulated: boolean;
    /** Why the pin cannot be used. */
    fault?: string;
    /** The topic whose newest event says whether an output is on. */
    follow?: { topic: string; path: string; event?: string; fault?: string };
    /** A change that is held back, since the output has changed just now; a newer one takes its place. */
    pending?: { on: boolean; in_ms: number; for_ms?: number };
  }
  export interface Sensor {
    readonly name: string;
    /** The topic of its events. */
    readonly topic: string;
    readonly driver: string;
    /** A bus and an address, or a file of the kernel. */
    readonly place: string;
    readonly simulated: boolean;
    /** The latest reading by unit, such as `celsius`; null: nothing was read since the node started. */
    readonly values: Readonly<Record<string, number>> | null;
    readonly readAt: Date | null;
    /** The latest reading has failed: `values` are those of one before it. */
    readonly failed: boolean;
    /** Why the sensor cannot be read, or not without breaks. */
    readonly fault: string | null;
    readonly faultSince: Date | null;
  }
  /** The board, and the pins and sensors that the node's configuration gives to the app. */
  export const hw: {
    health(): Promise<BoardHealth>;
    pins(): Promise<Pin[]>;
    read(name: string): Promise<boolean>;
    set(name: string, on: boolean): Promise<void>;
    /** Sets an output to `on` (true) for `ms` milliseconds, 1 to 86400000, and then to the opposite, whatever becomes of the run. */
    pulse(name: string, ms: number, on?: boolean): Promise<void>;
    /** All sensors of the app, those that cannot be read included. */
    sensors(): Promise<Sensor[]>;
    /** A sensor whose latest reading has succeeded; fails with UnavailableError otherwise. */
    sensor(name: string): Promise<Sensor & { readonly values: Readonly<Record<string, number>>; readonly readAt: Date }>;
  };

  /** Requests to the hosts that the node's operator allows. `timeout` is in seconds. */
  export const http: {
    fetch(url: string, options?: { method?: string; headers?: Record<string, string>; body?: string | Bytes; timeout?: number }): Promise<{
      status: number; ok: boolean; headers: Record<string, string>; text?: string; bytes(): Uint8Array | undefined; json(): any;
    }>;
  };

  export interface Response { readonly picloud_response: 1 }
  export interface ResponseInit { status?: number; headers?: Record<string, string> }
  /** What an endpoint answers. A handler that returns anything else answers with it as JSON. */
  export const response: {
    json(value: Json, init?: ResponseInit): Response;
    text(text: string, init?: ResponseInit): Response;
    html(text: string, init?: ResponseInit): Response;
    bytes(bytes: Bytes, init?: ResponseInit): Response;
    empty(status?: number): Response;
    redirect(url: string, status?: number): Response;
  };
  /** Answers 401 to an anonymous caller of an endpoint; returns the caller. */
  export function requireCaller(): Caller;

  // ---- a small library ----

  /** Lines in the log of this run. */
  export const log: { debug(...values: any[]): void; info(...values: any[]): void; warn(...values: any[]): void; error(...values: any[]): void };
  export const time: { now(): number; sleep(milliseconds: number): Promise<void> };
  export type Algorithm = "sha-256" | "sha-512" | "sha-1";
  export const crypto: {
    randomBytes(n: number): Promise<Uint8Array>;
    randomUUID(): Promise<string>;
    hash(algorithm: Algorithm, data: string | Bytes, encoding?: "hex" | "base64"): Promise<string>;
    hmac(algorithm: Algorithm, key: string | Bytes, data: string | Bytes, encoding?: "hex" | "base64"): Promise<string>;
  };

  // ---- errors ----

  /** What a call of the SDK fails with. `type` is stable, `code` its class. */
  export class PiCloudError extends Error { code: string; type: string; call: string }
  export class InvalidError extends PiCloudError {}
  export class ForbiddenError extends PiCloudError {}
  export class NotFoundError extends PiCloudError {}
  export class ConflictError extends PiCloudError {}
  export class PreconditionError extends PiCloudError {}
  export class TooLargeError extends PiCloudError {}
  export class UnavailableError extends PiCloudError {}
  export class LimitError extends PiCloudError {}
  export class UnauthenticatedError extends PiCloudError {}
}

/** Other scripts of the app. */
declare module "app:*";
