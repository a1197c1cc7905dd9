/** What a node offers, read from its own description: nodes differ by topology and version. */

/** Of an OpenAPI document: its paths, relations and their columns. */
export function offerOf({ paths = {}, components = {} }) {
  const get = path => paths[path]?.get;
  const parameter = (path, name) => get(path)?.parameters.find(one => one.name === name);
  const takes = (path, name) => parameter(path, name) !== undefined;
  function columnsOf(path) {
    const schema = get(path)?.responses?.["200"]?.content?.["application/json"]?.schema;
    const row = schema?.properties?.data?.items?.$ref?.split("/").at(-1);
    return Object.entries(components.schemas?.[row]?.properties ?? {}).map(([name, type]) => ({
      name,
      type: typeName(type),
    }));
  }
  const relations = Object.keys(paths)
    .filter(path => path.startsWith("/v1/"))
    .map(path => ({ name: path.slice("/v1/".length), columns: columnsOf(path) }))
    .filter(one => one.columns.length);
  return {
    has: path => path in paths,
    takes,
    choices: (path, name) => parameter(path, name)?.schema?.enum ?? [],
    isStreamed: relation => `/v1/${relation}/stream` in paths,
    relations,
    logs: relations
      .map(one => one.name)
      .filter(name => takes(`/v1/${name}`, "cursor") && takes(`/v1/${name}`, "order")),
    asksForKeys: "securitySchemes" in components,
  };
}

/** Before the node has described itself. */
export const NOTHING = offerOf({});

function typeName(schema) {
  if (schema.pattern?.startsWith("^-?[0-9]+")) return "decimal";
  return schema.format ?? [schema.type ?? "object"].flat()[0];
}
