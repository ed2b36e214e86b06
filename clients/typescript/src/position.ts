/**
 * isAfter reports whether the event `id` comes after the event `than`. Ids are `<epoch>.<sequence>`; sequences may be larger
 * than numbers are exact. Epochs have no order: in another history every event is new.
 */
export function isAfter(id: string, than: string | null | undefined): boolean {
  if (!than || id.split(".")[0] !== than.split(".")[0]) return true;
  return id.length === than.length ? id > than : id.length > than.length;
}
