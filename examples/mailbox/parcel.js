import { docs } from "picloud";

export default async function (event) {
  if (typeof event.data.weight !== "number") throw new Error("a parcel without a weight");
  await docs.put("parcels", String(event.data.id), event.data);
}
