import { call, type CallOptions } from "./call.js";
import { InvalidError } from "./errors.js";
import { type Http, jsonOf, segment } from "./http.js";
import { type RequestValidator, type Validator, validate } from "./validate.js";

/** The methods that endpoints answer. */
export type Method = "GET" | "POST" | "PUT" | "PATCH" | "DELETE";

/** What an endpoint may be told. */
export interface EndpointOptions<Req, Res> {
  /** Validates the request; its output is sent. */
  request?: RequestValidator<Req> | undefined;
  /** Validates the response, and turns it into a Res. */
  response?: Validator<Res> | undefined;
  /** Milliseconds until a TimeoutError. */
  timeout?: number | undefined;
}

/** What one request to an endpoint may be told. */
export interface RequestOptions extends CallOptions {
  /** Sent as the header Idempotency-Key, which the script may use. */
  idempotencyKey?: string | undefined;
  headers?: RequestInit["headers"] | undefined;
}

/** A function of a script on the node. Without arguments where Req is void. */
export type Endpoint<Req, Res> = (req: Req, options?: RequestOptions) => Promise<Res>;

/** textOf returns a value as a part of a URL: a string unchanged, any other value as JSON; null for a value that JSON writes as null, such as an invalid Date. */
function textOf(value: unknown): string | null {
  const text = jsonOf(value);
  return /^["n]/.test(text) ? JSON.parse(text) : text; // dates are texts in JSON
}

/**
 * endpoint returns a function that asks a script of the app. In `path`, `{name}` stands for the field `name` of the request; what is
 * left of it becomes the query of a GET or DELETE, where lists are repeated and null is left out, else the body as JSON. It throws an InvalidError for a
 * path that no endpoint can have.
 */
export function endpoint<Req, Res>(http: Http, app: string, method: Method, path: string, options: EndpointOptions<Req, Res> = {}): Endpoint<Req, Res> {
  if (!/^\/[^?#]*$/.test(path)) throw new InvalidError("a path begins with / and has no ? or #", undefined, path);
  return async (req, { headers, ...rest } = {}) => {
    let body: unknown = await validate(options.request as Validator<unknown> | undefined, req);
    const fields = Object(body) as Record<string, unknown>;
    let url = "/apps/" + segment(app) + path.replace(/\{(\w+)\}/g, (_, name: string) => {
      const text = textOf(fields[name]);
      if (!text) throw new InvalidError("the path needs `" + name + "` of the request", undefined, req);
      body = { ...(body as object), [name]: undefined };
      return segment(text);
    });
    const init: RequestInit = { method, headers: headers! };
    if (method === "GET" || method === "DELETE") {
      const query = new URLSearchParams();
      for (const [name, value] of Object.entries(Object(body))) {
        for (const text of [value].flat().map(textOf)) if (text !== null) query.append(name, text);
      }
      if ("" + query) url += "?" + query;
    } else if (body !== undefined) init.body = jsonOf(body);
    return validate(options.response, await call<unknown>(http, url, init, { timeout: options.timeout, ...rest }));
  };
}
