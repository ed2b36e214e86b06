import { InvalidError } from "./errors.js";

/** What the Standard Schema specification (standardschema.dev) asks of a schema, as far as it is used here. */
export interface StandardSchema<T, In = unknown> {
  readonly "~standard": {
    readonly version: 1;
    readonly vendor: string;
    readonly validate: (value: unknown) => StandardResult<T> | Promise<StandardResult<T>>;
    readonly types?: { readonly input: In; readonly output: T } | undefined;
  };
}

/** What a Standard Schema makes of a value. */
export type StandardResult<T> =
  | { readonly value: T; readonly issues?: undefined }
  | { readonly issues: ReadonlyArray<{ readonly message: string }> };

/**
 * Validator<T> makes a T of an unknown value, or throws: a schema of zod, valibot, ArkType or any other with Standard Schema,
 * an object with `parse`, or a function.
 */
export type Validator<T> = StandardSchema<T> | { parse(value: unknown): T } | ((value: unknown) => T);

/** RequestValidator<Req> takes a Req: what goes into a schema, or what an object with `parse` or a function makes of an unknown value. */
export type RequestValidator<Req> = StandardSchema<unknown, Req> | { parse(value: unknown): Req; readonly "~standard"?: never } | ((value: unknown) => Req);

/**
 * validate returns what a validator makes of a value. It throws an InvalidError where the value does not pass. A schema whose answer
 * is a promise gives a promise, and rejects alike.
 */
export function validate<T>(validator: Validator<T> | undefined, value: unknown): T | Promise<T> {
  if (!validator) return value as T;
  const fail = (thrown: unknown): never => {
    throw thrown instanceof InvalidError ? thrown : new InvalidError(String((thrown as Error)?.message ?? thrown), thrown, value);
  };
  const schema = (validator as StandardSchema<T>)["~standard"];
  const judge = (result: StandardResult<T> | T): T => {
    if (!schema) return result as T;
    const { issues, value: made } = result as { issues?: readonly Error[]; value: T };
    if (!issues) return made;
    throw new InvalidError(issues.map((issue) => issue.message).join("; "), issues, value);
  };
  try {
    const result = schema ? schema.validate(value) : "parse" in validator ? validator.parse(value) : (validator as (value: unknown) => T)(value);
    return result instanceof Promise ? result.then(judge, fail) : judge(result);
  } catch (thrown) {
    return fail(thrown);
  }
}
