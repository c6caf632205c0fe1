// The members drawn as a ring, the leader at the top, and how far each is behind it.

import { html } from "../parts.js";
import { formatInt } from "../text.js";
import { memberName, memberRole } from "./cluster_member.js";

const WIDTH = 380;
/** Of the middle of the ring. */
const MIDDLE = 130;
/** Characters of a name that are shown. */
const NAME = 16;

function places(count) {
  if (count === 1) return [{ x: WIDTH / 2, y: 50 }];
  return Array.from({ length: count }, (_, index) => {
    const angle = (index / count) * 2 * Math.PI - Math.PI / 2;
    return {
      x: WIDTH / 2 + 135 * Math.cos(angle),
      y: MIDDLE + 98 * Math.sin(angle),
    };
  });
}

function Link({ from, to, member }) {
  // (Nearer to the member than to the leader, whose name is there.)
  const x = from.x + (to.x - from.x) * 0.62;
  const y = from.y + (to.y - from.y) * 0.62;
  return html`<g class=${member.reachable ? "link" : "link cut"}>
    <line x1=${from.x} y1=${from.y} x2=${to.x} y2=${to.y} />
    ${!member.reachable && html`<text x=${x} y=${y + 4}>cut off</text>`}
  </g>`;
}

function Node({ place, member, radius, here }) {
  const role = memberRole(member);
  const name = memberName(member);
  const short = name.length > NAME ? `${name.slice(0, NAME - 1)}…` : name;
  const { x, y } = place;
  const lag = member.reachable ? BigInt(member.lag ?? 0) : 0n;
  const r = radius;
  return html`<g class=${`node ${role.replace(" ", "-")}`} transform=${`translate(${x} ${y})`}>
    <title>${`${name}: ${role}`}</title>
    <circle r=${r} />
    ${role === "leader" &&
    html`<path
      class="sign"
      d=${`M${-r / 2} ${r * 0.32} L${-r / 2} ${-r * 0.3} L${-r * 0.2} 0 L0 ${-r * 0.42} L${r * 0.2} 0 L${r / 2} ${-r * 0.3} L${r / 2} ${r * 0.32} Z`}
    />`}
    ${role === "no answer" &&
    html`<path class="sign" d=${`M${-r / 3} ${-r / 3} L${r / 3} ${r / 3} M${r / 3} ${-r / 3} L${-r / 3} ${r / 3}`} />`}
    ${role === "follower" && html`<circle class="sign" r=${r / 4} />`}
    ${role === "learner" && html`<circle class="sign" r=${r / 2.2} />`}
    <text y=${r + 17} class="name">${short}</text>
    <text y=${r + 32}>${role}${here && " · this member"}</text>
    ${lag > 0n && html`<text y=${r + 46}>${formatInt(lag)} behind</text>`}
  </g>`;
}

/** cluster: the page `cluster`; here: the id of the member that serves this page. */
export function Picture({ cluster, here }) {
  const ring = [...cluster.members].sort(
    (a, b) => b.leader - a.leader || (memberName(a) < memberName(b) ? -1 : 1),
  );
  const at = places(ring.length);
  const radius = ring.length > 7 ? 14 : 22;
  const words = ring.map((member) => `${memberName(member)}: ${memberRole(member)}`).join("; ");
  const led = ring[0]?.leader;
  const height = Math.max(...at.map(({ y }) => y)) + radius + 54;
  return html`<svg class="picture" viewBox=${`0 0 ${WIDTH} ${height}`} role="img" aria-label=${`Members. ${words}`}>
    ${ring.map(
      (member, index) =>
        index > 0 &&
        led &&
        html`<${Link} key=${`link-${member.id}`} from=${at[0]} to=${at[index]} member=${member} />`,
    )}
    ${ring.map(
      (member, index) =>
        html`<${Node}
          key=${member.id}
          place=${at[index]}
          member=${member}
          radius=${radius}
          here=${member.id === here}
        />`,
    )}
  </svg>`;
}
