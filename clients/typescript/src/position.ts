/** sameEpoch reports whether two events are of the same history. */
export function sameEpoch(a: string, b: string): boolean {
  return a.split(".")[0] === b.split(".")[0];
}

/**
 * isAfter reports whether the event `id` comes after the event `than`. Ids are `<epoch>.<sequence>`; sequences may be larger
 * than numbers are exact. Epochs have no order: in another history every event is new.
 */
export function isAfter(id: string, than: string | null | undefined): boolean {
  if (!than || !sameEpoch(id, than)) return true;
  return id.length === than.length ? id > than : id.length > than.length;
}
