// Names of protobuf fields of common Kubernetes kinds, by their numbers in the API's definitions.
//
// Fields that are not named here are shown by their number: the view stays right for kinds and
// versions that it does not know. Names of repeated fields end in [].

const TIME = { $as: "time" };
const QUANTITY = { $as: "quantity" };
const BOOL = { $as: "bool" };
const STRINGS = { $map: { $as: "bytes" } };
const QUANTITIES = { $map: QUANTITY };

export const METADATA = {
  1: "name", 2: "generateName", 3: "namespace", 4: "selfLink", 5: "uid", 6: "resourceVersion",
  7: "generation", 8: ["creationTimestamp", TIME], 9: ["deletionTimestamp", TIME],
  10: "deletionGracePeriodSeconds", 11: ["labels", STRINGS], 12: ["annotations", STRINGS],
  13: ["ownerReferences[]", {
    1: "kind", 3: "name", 4: "uid", 5: "apiVersion", 6: ["controller", BOOL],
    7: ["blockOwnerDeletion", BOOL],
  }],
  14: "finalizers[]",
  17: ["managedFields[]", {
    1: "manager", 2: "operation", 3: "apiVersion", 4: ["time", TIME], 6: "fieldsType",
    7: ["fieldsV1", { $as: "size" }], 8: "subresource",
  }],
};

const SELECTOR = {
  1: ["matchLabels", STRINGS],
  2: ["matchExpressions[]", { 1: "key", 2: "operator", 3: "values[]" }],
};
const RESOURCES = { 1: ["limits", QUANTITIES], 2: ["requests", QUANTITIES] };
const REFERENCE = {
  1: "kind", 2: "namespace", 3: "name", 4: "uid", 5: "apiVersion", 6: "resourceVersion",
  7: "fieldPath",
};
const CONTAINER = {
  1: "name", 2: "image", 3: "command[]", 4: "args[]", 5: "workingDir",
  6: ["ports[]", { 1: "name", 2: "hostPort", 3: "containerPort", 4: "protocol", 5: "hostIP" }],
  7: ["env[]", { 1: "name", 2: "value" }], 8: ["resources", RESOURCES],
  9: ["volumeMounts[]", { 1: "name", 2: ["readOnly", BOOL], 3: "mountPath", 4: "subPath" }],
  13: "terminationMessagePath", 14: "imagePullPolicy", 20: "terminationMessagePolicy",
};
const POD_SPEC = {
  1: ["volumes[]", { 1: "name" }], 2: ["containers[]", CONTAINER], 3: "restartPolicy",
  4: "terminationGracePeriodSeconds", 5: "activeDeadlineSeconds", 6: "dnsPolicy",
  7: ["nodeSelector", STRINGS], 8: "serviceAccountName", 9: "serviceAccount", 10: "nodeName",
  11: ["hostNetwork", BOOL], 12: ["hostPID", BOOL], 13: ["hostIPC", BOOL], 16: "hostname",
  17: "subdomain", 19: "schedulerName", 20: ["initContainers[]", CONTAINER],
  22: ["tolerations[]", { 1: "key", 2: "operator", 3: "value", 4: "effect", 5: "tolerationSeconds" }],
  24: "priorityClassName", 25: "priority", 30: ["enableServiceLinks", BOOL], 31: "preemptionPolicy",
};
const CONDITION = {
  1: "type", 2: "status", 3: ["lastProbeTime", TIME], 4: ["lastTransitionTime", TIME], 5: "reason",
  6: "message", 7: "observedGeneration",
};
const DEPLOYMENT_CONDITION = {
  1: "type", 2: "status", 4: "reason", 5: "message", 6: ["lastUpdateTime", TIME],
  7: ["lastTransitionTime", TIME],
};
const CONTAINER_STATE = {
  1: ["waiting", { 1: "reason", 2: "message" }],
  2: ["running", { 1: ["startedAt", TIME] }],
  3: ["terminated", {
    1: "exitCode", 2: "signal", 3: "reason", 4: "message", 5: ["startedAt", TIME],
    6: ["finishedAt", TIME], 7: "containerID",
  }],
};
const CONTAINER_STATUS = {
  1: "name", 2: ["state", CONTAINER_STATE], 3: ["lastState", CONTAINER_STATE], 4: ["ready", BOOL],
  5: "restartCount", 6: "image", 7: "imageID", 8: "containerID", 9: ["started", BOOL],
  11: ["resources", RESOURCES],
};
const POD_STATUS = {
  1: "phase", 2: ["conditions[]", CONDITION], 3: "message", 4: "reason", 5: "hostIP", 6: "podIP",
  7: ["startTime", TIME], 8: ["containerStatuses[]", CONTAINER_STATUS], 9: "qosClass",
  10: ["initContainerStatuses[]", CONTAINER_STATUS], 11: "nominatedNodeName",
  12: ["podIPs[]", { 1: "ip" }], 16: ["hostIPs[]", { 1: "ip" }], 17: "observedGeneration",
};
const TEMPLATE = { 1: ["metadata", METADATA], 2: ["spec", POD_SPEC] };
const RULE = {
  1: "verbs[]", 2: "apiGroups[]", 3: "resources[]", 4: "resourceNames[]", 5: "nonResourceURLs[]",
};
const SUBJECT = { 1: "kind", 2: "apiGroup", 3: "name", 4: "namespace" };
const ROLE_REFERENCE = { 1: "apiGroup", 2: "kind", 3: "name" };

// Kind -> fields of the object besides its metadata, which is field 1 everywhere.
const KINDS = {
  Pod: { 2: ["spec", POD_SPEC], 3: ["status", POD_STATUS] },
  Service: {
    2: ["spec", {
      1: ["ports[]", { 1: "name", 2: "protocol", 3: "port", 4: "targetPort", 5: "nodePort" }],
      2: ["selector", STRINGS], 3: "clusterIP", 4: "type", 5: "externalIPs[]", 7: "sessionAffinity",
      10: "externalName", 17: "ipFamilyPolicy", 18: "clusterIPs[]", 19: "ipFamilies[]",
      22: "internalTrafficPolicy",
    }],
  },
  Deployment: {
    2: ["spec", {
      1: "replicas", 2: ["selector", SELECTOR], 3: ["template", TEMPLATE], 5: "minReadySeconds",
      6: "revisionHistoryLimit", 7: ["paused", BOOL], 9: "progressDeadlineSeconds",
    }],
    3: ["status", {
      1: "observedGeneration", 2: "replicas", 3: "updatedReplicas", 4: "availableReplicas",
      5: "unavailableReplicas", 6: ["conditions[]", DEPLOYMENT_CONDITION], 7: "readyReplicas",
    }],
  },
  ReplicaSet: {
    2: ["spec", { 1: "replicas", 2: ["selector", SELECTOR], 3: ["template", TEMPLATE] }],
    3: ["status", {
      1: "replicas", 2: "fullyLabeledReplicas", 3: "observedGeneration", 4: "readyReplicas",
      5: "availableReplicas",
    }],
  },
  Job: {
    2: ["spec", {
      1: "parallelism", 2: "completions", 3: "activeDeadlineSeconds", 4: ["selector", SELECTOR],
      5: ["manualSelector", BOOL], 6: ["template", TEMPLATE], 7: "backoffLimit",
      8: "ttlSecondsAfterFinished", 9: "completionMode", 10: ["suspend", BOOL],
      14: "podReplacementPolicy",
    }],
    3: ["status", {
      1: ["conditions[]", CONDITION], 2: ["startTime", TIME], 3: ["completionTime", TIME], 4: "active",
      5: "succeeded", 6: "failed", 9: "ready", 11: "terminating",
    }],
  },
  Event: {
    2: ["involvedObject", REFERENCE], 3: "reason", 4: "message",
    5: ["source", { 1: "component", 2: "host" }], 6: ["firstTimestamp", TIME],
    7: ["lastTimestamp", TIME], 8: "count", 9: "type", 10: ["eventTime", TIME], 12: "action",
    13: ["related", REFERENCE], 14: "reportingComponent", 15: "reportingInstance",
  },
  ConfigMap: { 2: ["data", STRINGS], 3: ["binaryData", STRINGS], 4: ["immutable", BOOL] },
  // (What a Secret holds can be read as text or bytes, but not by a glance over a shoulder.)
  Secret: { 2: ["data", { $map: { $as: "hidden" } }], 3: "type", 5: ["immutable", BOOL] },
  ServiceAccount: { 2: ["secrets[]", REFERENCE], 3: ["imagePullSecrets[]", { 1: "name" }] },
  Namespace: { 2: ["spec", { 1: "finalizers[]" }], 3: ["status", { 1: "phase" }] },
  Lease: {
    2: ["spec", {
      1: "holderIdentity", 2: "leaseDurationSeconds", 3: ["acquireTime", TIME],
      4: ["renewTime", TIME], 5: "leaseTransitions",
    }],
  },
  Endpoints: {
    2: ["subsets[]", {
      1: ["addresses[]", { 1: "ip", 3: "hostname", 4: "nodeName" }],
      3: ["ports[]", { 1: "name", 2: "port", 3: "protocol" }],
    }],
  },
  EndpointSlice: {
    2: ["endpoints[]", { 1: "addresses[]", 3: "hostname", 4: ["targetRef", REFERENCE], 6: "nodeName" }],
    3: ["ports[]", { 1: "name", 2: "protocol", 3: "port" }], 4: "addressType",
  },
  Role: { 2: ["rules[]", RULE] },
  ClusterRole: { 2: ["rules[]", RULE] },
  RoleBinding: { 2: ["subjects[]", SUBJECT], 3: ["roleRef", ROLE_REFERENCE] },
  ClusterRoleBinding: { 2: ["subjects[]", SUBJECT], 3: ["roleRef", ROLE_REFERENCE] },
  Node: {
    2: ["spec", { 1: "podCIDR", 3: "providerID", 4: ["unschedulable", BOOL], 7: "podCIDRs[]" }],
    3: ["status", { 1: ["capacity", QUANTITIES], 2: ["allocatable", QUANTITIES] }],
  },
};

export function fieldsOf(kind) {
  const known = Object.hasOwn(KINDS, kind) ? KINDS[kind] : { 2: "spec", 3: "status" };
  return { 1: ["metadata", METADATA], ...known };
}
