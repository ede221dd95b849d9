export function SharedPage() {
  return <h1>Shared</h1>;
}
