/** What a node offers, read from its own description: nodes differ by topology and version. */

/** Of an OpenAPI document: its paths, relations and their columns. */
export function offerOf(document) {
  const paths = document.paths ?? {},
    schemas = document.components?.schemas ?? {};
  const takes = (path, name) =>
    paths[path]?.get?.parameters.some(one => one.name === name) ?? false;
  const columnsOf = path => {
    const schema = paths[path]?.get?.responses?.["200"]?.content?.["application/json"]?.schema;
    const row = schema?.properties?.data?.items?.$ref?.split("/").at(-1);
    return Object.entries(schemas[row]?.properties ?? {}).map(([name, type]) => ({
      name,
      type: typeName(type),
    }));
  };
  const names = Object.keys(paths)
    .filter(path => path.startsWith("/v1/"))
    .map(path => path.slice("/v1/".length))
    .filter(name => columnsOf(`/v1/${name}`).length);
  return {
    has: path => path in paths,
    takes,
    choices: (path, name) =>
      paths[path]?.get?.parameters.find(one => one.name === name)?.schema?.enum ?? [],
    isStreamed: relation => `/v1/${relation}/stream` in paths,
    relations: names.map(name => ({ name, columns: columnsOf(`/v1/${name}`) })),
    logs: names.filter(name => takes(`/v1/${name}`, "cursor") && takes(`/v1/${name}`, "order")),
    asksForKeys: "securitySchemes" in (document.components ?? {}),
  };
}

/** Before the node has described itself. */
export const NOTHING = offerOf({});

function typeName(schema) {
  const [type] = [schema.type ?? "object"].flat();
  if (schema.pattern?.startsWith("^-?[0-9]+")) return "decimal";
  return schema.format ?? type;
}
