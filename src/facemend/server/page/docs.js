// The page for people who write programs: its tables are drawn from the OpenAPI document, so that they cannot differ.

const find = (id) => document.getElementById(id);

/** A table of two columns: [name, what it is] of each row. */
function table(place, names, rows) {
  const element = document.createElement("table");
  const head = element.createTHead().insertRow();
  for (const name of names) head.append(cell("th", name, "col"));
  const body = element.createTBody();
  for (const [name, text] of rows) body.insertRow().append(cell("th", name, "row"), cell("td", text));
  find(place).replaceChildren(element);
}

function cell(tag, text, scope) {
  const element = document.createElement(tag);
  if (scope) element.scope = scope;
  if (scope === "row") element.append(Object.assign(document.createElement("code"), { textContent: text }));
  else element.textContent = text;
  return element;
}

/** What a member of a schema is, in words. */
function meaning(schema) {
  const parts = [schema.description ?? ""];
  if (schema.enum) parts.push(`One of ${schema.enum.join(", ")}.`);
  if (schema.example !== undefined) parts.push(`Example: ${schema.example}`);
  if (schema.default !== undefined && schema.default !== null) parts.push(`Default: ${schema.default}`);
  return parts.filter(Boolean).join(" ");
}

function rowsOf(schema) {
  return Object.entries(schema.properties).map(([name, each]) => [name, meaning(each)]);
}

async function show() {
  const api = await (await fetch("openapi.json")).json();
  const { reconstruct } = Object.fromEntries(Object.values(api.paths).flatMap(Object.values).map((each) => [each.operationId, each]));
  const { schemas } = api.components;
  table("fields", ["Field", "What it is"], rowsOf(reconstruct.requestBody.content["multipart/form-data"].schema));
  table("answer", ["Member", "What it is"], rowsOf(schemas.ReconstructionResponse));
  table("face", ["Member", "What it is"], rowsOf(schemas.FaceResponse));
  const errors = Object.entries(reconstruct.responses).filter(([status]) => status !== "200");
  table("errors", ["Status", "Why"], errors.map(([status, each]) => [status, each.description]));
  const paths = Object.entries(api.paths).flatMap(([path, methods]) => Object.entries(methods).map(([method, each]) => [
    `${method.toUpperCase()} ${path}`, each.summary,
  ]));
  table("paths", ["Address", "What it is"], paths);
}

for (const part of document.querySelectorAll(".origin")) part.textContent = new URL(".", document.baseURI).href;
show();
