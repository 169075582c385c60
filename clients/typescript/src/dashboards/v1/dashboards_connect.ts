export { DashboardsService } from "../../gen/dashboards/v1/dashboards_pb.js";
