import { call, type CallOptions } from "./call.js";
import { type Http, segment } from "./http.js";
import { type Validator, validate } from "./validate.js";

/** The methods that endpoints answer. */
export type Method = "GET" | "POST" | "PUT" | "PATCH" | "DELETE";

/** What an endpoint may be told. */
export interface EndpointOptions<Req, Res> {
  /** Validates the request before it is sent. */
  request?: Validator<Req> | undefined;
  /** Validates the response, and turns it into a Res. */
  response?: Validator<Res> | undefined;
  /** Milliseconds until a TimeoutError. */
  timeout?: number | undefined;
}

/** What one request to an endpoint may be told. */
export interface RequestOptions extends CallOptions {
  /** Sent as the header Idempotency-Key, which the script may use. */
  idempotencyKey?: string | undefined;
  headers?: HeadersInit | undefined;
}

/** A function of a script on the node. Without arguments where Req is void. */
export type Endpoint<Req, Res> = (req: Req, options?: RequestOptions) => Promise<Res>;

/**
 * endpoint returns a function that asks a script of the app. In `path`, `{name}` stands for the field `name` of the request; what is
 * left of it becomes the query of a GET or DELETE, else the body as JSON.
 */
export function endpoint<Req, Res>(http: Http, app: string, method: Method, path: string, options: EndpointOptions<Req, Res> = {}): Endpoint<Req, Res> {
  return async (req, { idempotencyKey, headers, ...rest } = {}) => {
    let body: unknown = await validate(options.request, req);
    let url = "/apps/" + segment(app) + path.replace(/\{(\w+)\}/g, (_, name: string) => {
      const { [name]: value, ...others } = body as Record<string, unknown>;
      body = others;
      return segment(String(value));
    });
    const all = new Headers(headers);
    if (idempotencyKey) all.set("Idempotency-Key", idempotencyKey);
    const init: RequestInit = { method, headers: all };
    if (method === "GET" || method === "DELETE") {
      const query = "" + new URLSearchParams(body as Record<string, string>);
      if (query) url += "?" + query;
    } else if (body !== undefined) {
      all.set("Content-Type", "application/json");
      init.body = JSON.stringify(body);
    }
    return validate(options.response, await call<unknown>(http, url, init, { timeout: options.timeout, ...rest }));
  };
}
