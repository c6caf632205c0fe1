"""Commands on the cluster: membership changes, cluster version, alarms."""

from google.protobuf.message import Message

from rusd.mvcc.store import Writer
from rusd.proto import rpc_pb2 as rpc
from rusd.state.alarms import Alarm, Alarms
from rusd.state.command import Kind, MemberAddition
from rusd.state.context import ApplyContext, Handler
from rusd.state.members import Member, Members
from rusd.state.result import Applied
from rusd.wire import kv_response


class ClusterCommands:
    """Handlers of the commands that change members, the cluster version or alarms."""

    def __init__(self, members: Members, alarms: Alarms, context: ApplyContext) -> None:
        self._members = members
        self._alarms = alarms
        self._context = context

    def handlers(self) -> dict[int, Handler]:
        """Return the handlers by kind of command."""
        return {
            Kind.ALARM: Handler(rpc.AlarmRequest.FromString, self._alarm),
            Kind.CLUSTER_VERSION: Handler(bytes.decode, self._cluster_version),
            Kind.DOWNGRADE: Handler(bytes.decode, self._downgrade),
            Kind.MEMBER_ATTRIBUTES: Handler(Member.parse, self._attributes),
            Kind.MEMBER_ADD: Handler(MemberAddition.decode, self._add),
            Kind.MEMBER_REMOVE: Handler(Member.parse, self._remove),
            Kind.MEMBER_UPDATE: Handler(Member.parse, self._update),
            Kind.MEMBER_PROMOTE: Handler(Member.parse, self._promote),
        }

    def _alarm(self, writer: Writer, request: rpc.AlarmRequest, wanted: bool) -> Applied:
        alarm = Alarm(request.memberID, request.alarm)
        if request.action == rpc.AlarmRequest.GET:
            listed = self._alarms.get(request.alarm)
        elif request.action == rpc.AlarmRequest.ACTIVATE:
            listed = self._alarms.activate(writer.batch, alarm)
        elif request.action == rpc.AlarmRequest.DEACTIVATE:
            listed = self._alarms.deactivate(writer.batch, alarm)
        else:
            listed = []
        encoded = [one.encode() for one in listed] if wanted else []
        return Applied(writer.revision, kv_response.alarm_response(encoded))

    def _cluster_version(self, writer: Writer, request: str, wanted: bool) -> Applied:
        self._members.set_cluster_version(writer.batch, request)
        return Applied(writer.revision, b"")

    def _downgrade(self, writer: Writer, request: str, wanted: bool) -> Applied:
        self._members.set_downgrade_target(writer.batch, request or None)
        return Applied(writer.revision, b"")

    def _attributes(self, writer: Writer, request: Member, wanted: bool) -> Applied:
        started = self._members.membership().started
        self._members.publish(writer.batch, request.id, request.name, request.client_urls)
        if self._members.membership().started != started:
            self._announce()
        return Applied(writer.revision, b"")

    def _add(self, writer: Writer, request: MemberAddition, wanted: bool) -> Applied:
        self._members.add(writer.batch, request.member, request.max_learners)
        return self._changed(request.member)

    def _remove(self, writer: Writer, request: Member, wanted: bool) -> Applied:
        self._members.remove(writer.batch, request.id)
        return self._changed(None)

    def _update(self, writer: Writer, request: Member, wanted: bool) -> Applied:
        self._members.update(writer.batch, request.id, request.peer_urls)
        return self._changed(None)

    def _promote(self, writer: Writer, request: Member, wanted: bool) -> Applied:
        self._members.promote(writer.batch, request.id)
        return self._changed(None)

    def _announce(self) -> None:
        members = self._members
        self._context.after_commit(lambda listeners: listeners.membership(members.membership()))

    def _changed(self, added: Member | None) -> Applied:
        """Return a response with all members; as in etcd, its header carries no revision."""
        self._announce()
        members = [member.message() for member in self._members]
        response: Message = rpc.MemberRemoveResponse(members=members)
        if added is not None:
            response = rpc.MemberAddResponse(member=added.message(), members=members)
        return Applied(0, response.SerializeToString())
