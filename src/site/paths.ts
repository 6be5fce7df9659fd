/** Paths of the Kubernetes API that a run uses; docs/rbac.md and plugin/rbac.yaml grant exactly these. */
const core = (namespace: string) => `/api/v1/namespaces/${encodeURIComponent(namespace)}`;

export const paths = {
  namespace: (namespace: string) => core(namespace),
  service: (namespace: string, name: string) => `${core(namespace)}/services/${encodeURIComponent(name)}`,
  slices: (namespace: string, service: string) =>
    `/apis/discovery.k8s.io/v1/namespaces/${encodeURIComponent(namespace)}/endpointslices?labelSelector=${encodeURIComponent(`kubernetes.io/service-name=${service}`)}`,
  nodes: () => '/api/v1/nodes',
  pods: (namespace: string) => `${core(namespace)}/pods`,
  pod: (namespace: string, name: string) => `${core(namespace)}/pods/${encodeURIComponent(name)}`,
  ephemeral: (namespace: string, name: string) =>
    `${core(namespace)}/pods/${encodeURIComponent(name)}/ephemeralcontainers`,
  eventsOf: (namespace: string, pod: string) =>
    `${core(namespace)}/events?fieldSelector=${encodeURIComponent(`involvedObject.name=${pod}`)}`,
  podsLabelled: (label: string) => `/api/v1/pods?labelSelector=${encodeURIComponent(label)}`,
  version: () => '/version',
  daemonSets: (namespace: string) => `/apis/apps/v1/namespaces/${encodeURIComponent(namespace)}/daemonsets`,
  accessReviews: () => '/apis/authorization.k8s.io/v1/selfsubjectaccessreviews',
};
