import { docs, response, NotFoundError } from "picloud";

const gone = () => response.json({ error: "there is no such order" }, { status: 404 });
const shown = (d) => ({ id: d.id, version: d.version, ...d.body });

export async function create({ body }) {
  if (typeof body?.who !== "string" || !Number.isInteger(body.pieces)) {
    return response.json({ error: "send { who: text, pieces: whole number }" }, { status: 422 });
  }
  const order = await docs.create("orders", { who: body.who, pieces: body.pieces, state: "new" });
  return response.json(shown(order), { status: 201, headers: { location: "/apps/orders/orders/" + order.id } });
}

export async function find({ query }) {
  const where = query.who ? { who: query.who } : {};
  const page = await docs.find("orders", { where, limit: 50, after: query.after });
  return { orders: page.documents.map(shown), next: page.next || null };
}

export async function show({ params }) {
  const order = await docs.get("orders", params.id);
  return order ? shown(order) : gone();
}

export async function change({ params, body }) {
  try {
    return shown(await docs.merge("orders", params.id, { pieces: body.pieces, state: body.state }));
  } catch (e) {
    if (e instanceof NotFoundError) return gone();
    throw e;
  }
}

export async function remove({ params }) {
  return (await docs.delete("orders", params.id)) ? response.empty() : gone();
}
